//! The threads that share a kernel's work.
//!
//! Workers live as long as the pool. Between two regions of work they spin, because steps of small networks follow each other
//! faster than the system can wake a thread; for 10 ms, because some systems wake a thread on the core of the one that woke
//! it, and need some milliseconds of two busy threads there to move one to an idle core. Then they sleep, because a worker that
//! spins for ever takes a core from everybody else. A region allocates nothing.

use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a worker spins for the next region before it sleeps.
const SPIN: Duration = Duration::from_millis(10);

/// So many turns of a loop that waits, some ten microseconds, before it offers its core to others: the thread that it waits
/// for may be one of them.
const TURNS: u32 = 512;

/// In `Shared::state`: the region can be entered.
const OPEN: u64 = 1 << 31;
/// In `Shared::state`: how many workers are inside.
const INSIDE: u64 = OPEN - 1;

/// What a region runs: `f(0)`, …, `f(parts - 1)`.
#[derive(Clone, Copy)]
struct Region {
    f: *const (dyn Fn(usize) + Sync),
    parts: usize,
}

/// The counter of a share, on a line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Next(AtomicUsize);

type Payload = Box<dyn Any + Send>;

/// What the threads share. Aligned so that nothing else lives on the lines they fight for.
#[repr(align(128))]
struct Shared {
    /// The region's number << 32 | `OPEN` | workers inside. A worker enters by raising the count while the region is open;
    /// the caller closes it and waits for the count to be 0. So a worker that wakes up late is not waited for, and cannot
    /// touch a region that has ended.
    state: AtomicU64,
    /// For each thread, the next part of its share to be taken.
    next: Box<[Next]>,
    /// Written by the caller while the region is closed and nobody is inside.
    region: UnsafeCell<Option<Region>>,
    /// Whether a region is running: a second caller does its work itself.
    busy: AtomicBool,
    /// Workers that have started.
    ready: AtomicUsize,
    quit: AtomicBool,
    sleepers: AtomicUsize,
    door: Mutex<()>,
    bell: Condvar,
    /// The first panic of the region.
    panic: Mutex<Option<Payload>>,
}

// SAFETY: `region` is the only field that is not Sync. It is written by the one caller that holds `busy`, while the region
// is closed and nobody is inside, and read by those inside (`state` orders the two). The `f` it points to is Sync, and
// outlives the region because `run` does not return before.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl Shared {
    /// Takes parts until none is left: first those of thread `me`'s own share, which is the same share of every region, so that
    /// a thread finds in its core's caches what it has written there in the last one; then what others have left.
    fn work(&self, region: Region, me: usize) {
        // SAFETY: the caller of this function is inside the region, so `run` has not returned and `f` is alive.
        let f = unsafe { &*region.f };
        let threads = self.next.len();
        for thread in (me..threads).chain(0..me) {
            let end = region.parts * (thread + 1) / threads;
            loop {
                let part = self.next[thread].0.fetch_add(1, Ordering::Relaxed);
                if part >= end {
                    break;
                }
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| f(part))) {
                    self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
                }
            }
        }
    }

    /// The life of worker `me`.
    fn serve(&self, me: usize) {
        self.ready.fetch_add(1, Ordering::Release);
        let mut seen = 0; // the number of the last region this worker knows of
        while let Some(state) = self.wait(seen) {
            seen = state >> 32;
            let mut state = state;
            while state & OPEN != 0 && state >> 32 == seen {
                match self.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => {
                        // SAFETY: inside an open region: nobody writes it until this worker has left.
                        if let Some(region) = unsafe { *self.region.get() } {
                            self.work(region, me);
                        }
                        self.state.fetch_sub(1, Ordering::Release);
                        break;
                    }
                    Err(now) => state = now,
                }
            }
        }
    }

    /// Waits for a region other than `seen`; None when the pool ends.
    fn wait(&self, seen: u64) -> Option<u64> {
        let start = Instant::now();
        loop {
            for _ in 0..TURNS {
                let state = self.state.load(Ordering::Acquire);
                if state >> 32 != seen {
                    return Some(state);
                }
                std::hint::spin_loop();
            }
            if self.quit.load(Ordering::Relaxed) {
                return None;
            }
            if start.elapsed() > SPIN {
                break;
            }
            std::thread::yield_now();
        }
        let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        // SeqCst here and in `wake`: either this thread sees the new state or the caller sees the sleeper.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            if self.quit.load(Ordering::SeqCst) {
                break None;
            }
            let state = self.state.load(Ordering::SeqCst);
            if state >> 32 != seen {
                break Some(state);
            }
            door = self.bell.wait(door).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        found
    }

    fn wake(&self) {
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.door.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }
}

/// Threads that run the parts of a kernel together; the calling thread is one of them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A pool of `threads` threads (0 counts as 1), the calling one included: one thread starts none.
    ///
    /// # Panics
    /// When the system refuses a thread; [`Pool::start`] tells.
    pub fn new(threads: usize) -> Pool {
        Pool::start(threads).expect("the system refused a thread")
    }

    /// As [`Pool::new`].
    ///
    /// # Errors
    /// The system's, when it refuses a thread; those that had started have ended.
    pub fn start(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: (0..threads.max(1)).map(|_| Next::default()).collect(),
            region: UnsafeCell::new(None),
            busy: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            quit: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            door: Mutex::new(()),
            bell: Condvar::new(),
            panic: Mutex::new(None),
        });
        // Collected into the pool as they start, so that those already running end if a later one cannot start.
        let mut pool = Pool { shared, workers: Vec::with_capacity(threads.saturating_sub(1)) };
        for i in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new().name(format!("gradus-{i}"));
            pool.workers.push(worker.spawn(move || shared.serve(i))?);
        }
        // A thread's first moments ask for memory: they are over before the first region, which may not.
        while pool.shared.ready.load(Ordering::Acquire) < pool.workers.len() {
            std::thread::yield_now();
        }
        Ok(pool)
    }

    /// How many threads share the work, the calling one included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `f(0)`, …, `f(parts - 1)`, each once, over the threads; returns when all are done.
    ///
    /// While another thread (or an outer part) is in here, the parts are run by the calling thread alone: nobody waits.
    ///
    /// # Panics
    /// When a part panics: with the first payload, after all the parts have ended.
    pub fn run(&self, parts: usize, f: &(dyn Fn(usize) + Sync)) {
        let shared = &*self.shared;
        if parts < 2 || self.workers.is_empty() || shared.busy.swap(true, Ordering::Acquire) {
            return run_inline(parts, f);
        }
        // SAFETY: only the lifetime is dropped; the region ends before this function returns (nothing below unwinds
        // before it has), and nobody uses `f` after that.
        let f = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync + 'static)>(f)
        };
        let region = Region { f, parts };
        // SAFETY: this thread holds `busy`; the last region is closed and empty, so nobody reads.
        unsafe { *shared.region.get() = Some(region) };
        for (thread, next) in shared.next.iter().enumerate() {
            next.0.store(parts * thread / shared.next.len(), Ordering::Relaxed);
        }
        let number = (shared.state.load(Ordering::Relaxed) >> 32) + 1;
        shared.state.store(number << 32 | OPEN, Ordering::SeqCst);
        shared.wake();
        shared.work(region, 0);
        let mut inside = shared.state.fetch_and(!OPEN, Ordering::AcqRel) & INSIDE;
        let mut spins = 0_u32;
        while inside != 0 {
            spins += 1;
            if spins.is_multiple_of(TURNS) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
            inside = shared.state.load(Ordering::Acquire) & INSIDE;
        }
        let payload = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.busy.store(false, Ordering::Release);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }

    /// Calls `f(row, its numbers)` for each row of `ld` numbers that `out` is made of, over the threads where it pays.
    /// `effort` is how many times as long it takes as to bring `out` from memory and back.
    pub fn each_row(&self, effort: usize, ld: usize, out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        let rows = out.len().checked_div(ld).unwrap_or(0);
        self.split_rows(effort, rows, 1, Write::new(out, ld), |range, part| {
            range.zip(part.chunks_exact_mut(ld.max(1))).for_each(|(row, out)| f(row, out));
        });
    }

    /// Splits `0..items` into ranges of `grain` or more items and runs `f` on each, over the threads where it pays.
    pub(crate) fn split(&self, work: Work, items: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
        if self.workers.is_empty() {
            return f(0..items);
        }
        match work.parts(self.threads()).min(items / grain.max(1)).max(1) {
            1 => f(0..items),
            parts => self.run(parts, &|i| f(share(items, grain, i, parts))),
        }
    }

    /// Splits the rows of some arrays, `0..rows`, as [`Pool::split`] does, and runs `f` on each range with its part of the
    /// arrays. `effort` is how many times as long it takes as to bring them from memory and back.
    pub(crate) fn split_rows<A: Rows>(
        &self,
        effort: usize,
        rows: usize,
        grain: usize,
        arrays: A,
        f: impl Fn(Range<usize>, A::Part) + Sync,
    ) {
        self.split(Work::Bytes(arrays.bytes().saturating_mul(effort)), rows, grain, |range| {
            // SAFETY: `split` gives disjoint ranges.
            let part = unsafe { arrays.part(&range) };
            f(range, part);
        });
    }

    /// [`Pool::split_rows`] for arrays of single numbers.
    pub(crate) fn split_numbers<A: Rows>(&self, effort: usize, n: usize, arrays: A, f: impl Fn(A::Part) + Sync) {
        self.split_rows(effort, n, LINE, arrays, |_, part| f(part));
    }
}

/// Numbers in a cache line.
const LINE: usize = 16;

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        drop(self.shared.door.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.bell.notify_all();
        for worker in self.workers.drain(..) {
            // A worker does not panic: the parts' panics are caught.
            let _ = worker.join();
        }
    }
}

fn run_inline(parts: usize, f: &(dyn Fn(usize) + Sync)) {
    let mut panic = None;
    for part in 0..parts {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| f(part))) {
            panic.get_or_insert(payload);
        }
    }
    if let Some(payload) = panic {
        resume_unwind(payload);
    }
}

/// The `i`-th of `parts` shares of `0..items`: whole grains, but for the last.
fn share(items: usize, grain: usize, i: usize, parts: usize) -> Range<usize> {
    let grain = grain.max(1);
    let (grains, parts) = (items / grain, parts.max(1));
    let at = |i: usize| if i == parts { items } else { grains * i / parts * grain };
    at(i)..at(i + 1)
}

/// How much there is to do, in what the machine runs out of first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Floating-point operations of a product.
    Flops(usize),
    /// Bytes read and written.
    Bytes(usize),
}

/// What a part has to do at least, in nanoseconds on one core: a region costs a few hundred. Nothing in the tests of the
/// kernels, so that they split whatever can be.
const LEAST: usize = if cfg!(test) { 0 } else { 2_500 };

/// From here on, in nanoseconds, another process may take a core away meanwhile: smaller parts even that out.
const LARGE: usize = 500_000;

impl Work {
    /// How many parts pay, on so many threads.
    pub(crate) fn parts(self, threads: usize) -> usize {
        // A core does 100 GFLOP/s and moves 40 GB/s, or thereabouts: half of that from memory, twice as much in its caches.
        let nanoseconds = match self {
            Work::Flops(n) => n / 100,
            Work::Bytes(n) => n / 40,
        };
        match nanoseconds {
            _ if threads == 1 => 1,
            LARGE.. => threads * 4,
            _ => nanoseconds.checked_div(LEAST).map_or(threads, |most| most.min(threads)),
        }
    }
}

/// Arrays of rows, of which each part of a region takes its own.
pub(crate) trait Rows: Sync {
    /// What a part takes.
    type Part;

    /// How large they are together.
    fn bytes(&self) -> usize;

    /// These rows; an array may end before its last row does.
    ///
    /// # Safety
    /// No rows are in use twice at the same time.
    unsafe fn part(&self, rows: &Range<usize>) -> Self::Part;
}

/// Rows to be read, so far apart.
pub(crate) struct Read<'a, T>(pub(crate) &'a [T], pub(crate) usize);

impl<'a, T: Sync> Rows for Read<'a, T> {
    type Part = &'a [T];

    fn bytes(&self) -> usize {
        size_of_val(self.0)
    }

    unsafe fn part(&self, rows: &Range<usize>) -> &'a [T] {
        &self.0[stretch(rows, self.1, self.0.len())]
    }
}

/// Rows to be written, so far apart.
pub(crate) struct Write<'a, T>(Output<'a, T>, usize);

impl<'a, T> Write<'a, T> {
    pub(crate) fn new(out: &'a mut [T], ld: usize) -> Self {
        Write(Output::new(out), ld)
    }
}

impl<'a, T: Send> Rows for Write<'a, T> {
    type Part = &'a mut [T];

    fn bytes(&self) -> usize {
        self.0.len() * size_of::<T>()
    }

    unsafe fn part(&self, rows: &Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise; different rows are different stretches.
        unsafe { self.0.slice(stretch(rows, self.1, self.0.len())) }
    }
}

/// Where some rows lie, `ld` apart, in an array of `len` numbers.
fn stretch(rows: &Range<usize>, ld: usize, len: usize) -> Range<usize> {
    // Saturating: where it is so long that there is no second row.
    let end = rows.end.saturating_mul(ld).min(len);
    rows.start.saturating_mul(ld).min(end)..end
}

impl<A: Rows> Rows for Option<A> {
    type Part = Option<A::Part>;

    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, A::bytes)
    }

    unsafe fn part(&self, rows: &Range<usize>) -> Self::Part {
        // SAFETY: the caller's promise.
        self.as_ref().map(|a| unsafe { a.part(rows) })
    }
}

macro_rules! rows_together {
    ($($array:ident)+) => {
        #[allow(non_snake_case)]
        impl<$($array: Rows),+> Rows for ($($array,)+) {
            type Part = ($($array::Part,)+);

            fn bytes(&self) -> usize {
                let ($($array,)+) = self;
                0 $(+ $array.bytes())+
            }

            unsafe fn part(&self, rows: &Range<usize>) -> Self::Part {
                let ($($array,)+) = self;
                // SAFETY: the caller's promise.
                unsafe { ($($array.part(rows),)+) }
            }
        }
    };
}
rows_together!(A B);
rows_together!(A B C);
rows_together!(A B C D);
rows_together!(A B C D E);

/// An output that the parts of a region write to, each its own stretches.
pub(crate) struct Output<'a, T = f32> {
    ptr: *mut T,
    len: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it gives access through unsafe functions alone, whose callers keep to stretches that nobody else uses.
unsafe impl<T: Send> Sync for Output<'_, T> {}

impl<'a, T> Output<'a, T> {
    pub(crate) fn new(out: &'a mut [T]) -> Self {
        Output { ptr: out.as_mut_ptr(), len: out.len(), lifetime: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first number. To write through it is for the caller to justify: in bounds, and nobody else there.
    pub(crate) fn ptr(&self) -> *mut T {
        self.ptr
    }

    /// A stretch of it.
    ///
    /// # Panics
    /// When it reaches past the end.
    ///
    /// # Safety
    /// Nobody else uses any of it while the slice lives.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "stretch past the end of the output");
        // SAFETY: in bounds, and the caller promises that it is the only user.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool, parts: usize) -> Vec<usize> {
        let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
        pool.run(parts, &|i| {
            done[i].fetch_add(1, Ordering::Relaxed);
        });
        done.iter().map(|d| d.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn every_part_runs_once() {
        for threads in 0..5 {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for round in 0..300 {
                let parts = round % 17;
                assert_eq!(counts(&pool, parts), vec![1; parts], "{threads} threads, {parts} parts");
                if round % 100 == 50 {
                    std::thread::sleep(Duration::from_millis(1)); // so that the workers sleep too
                }
            }
        }
    }

    #[test]
    fn a_thread_has_the_same_share_of_every_region() {
        let pool = Pool::new(3);
        let by = Mutex::new([None; 3]);
        for _ in 0..200 {
            // Nobody goes on before each has taken a part.
            let all = std::sync::Barrier::new(3);
            pool.run(3, &|i| {
                all.wait();
                let mut by = by.lock().unwrap();
                let me = std::thread::current().id();
                assert_eq!(*by[i].get_or_insert(me), me, "part {i}");
            });
        }
        assert_eq!(by.into_inner().unwrap()[0], Some(std::thread::current().id()));
    }

    #[test]
    fn a_panic_arrives_after_all_parts_have_ended() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let ended = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(8, &|i| {
                    if i == 2 {
                        resume_unwind(Box::new("part two"));
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }));
            assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"part two"));
            assert_eq!(ended.load(Ordering::Relaxed), 7);
            assert_eq!(counts(&pool, 5), vec![1; 5], "the pool goes on");
        }
    }

    #[test]
    fn nested_and_simultaneous_regions_run() {
        let pool = Pool::new(3);
        let total = AtomicUsize::new(0);
        pool.run(4, &|_| {
            pool.run(4, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.load(Ordering::Relaxed), 16);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        assert_eq!(counts(&pool, 7), vec![1; 7]);
                    }
                });
            }
        });
    }

    #[test]
    fn shares_cover_everything_once() {
        for items in 0..50 {
            for grain in 1..9 {
                for parts in 1..7 {
                    let shares: Vec<_> = (0..parts).map(|i| share(items, grain, i, parts)).collect();
                    assert_eq!((shares[0].start, shares[parts - 1].end), (0, items));
                    assert!(shares.windows(2).all(|w| w[0].end == w[1].start && w[0].end % grain == 0));
                }
            }
        }
    }

    #[test]
    fn work_is_split_where_it_pays() {
        assert_eq!([1, 2, 6].map(|threads| Work::Flops(1 << 30).parts(threads)), [1, 8, 24]);
        assert_eq!([1, 2, 6].map(|threads| Work::Bytes(1 << 20).parts(threads)), [1, 2, 6]);
        assert_eq!(Work::Bytes(usize::MAX).parts(3), 12);
    }

    #[test]
    fn each_part_has_its_rows_of_every_array() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            for rows in [1, 2, 7, 100] {
                // The last row of `out` is shorter.
                let x: Vec<u32> = (0..rows as u32 * 3).collect();
                let (mut out, mut count) = (vec![0.0; rows * 7 - 3], vec![0; rows]);
                let parts = AtomicUsize::new(0);
                let arrays = (Read(&x, 3), Write::new(&mut out, 7), Some(Write::new(&mut count, 1)), None::<Read<u8>>);
                pool.split_rows(1, rows, 1, arrays, |range, (x, out, count, none)| {
                    parts.fetch_add(1, Ordering::Relaxed);
                    assert!(none.is_none() && x[0] == 3 * range.start as u32 && x.len() == 3 * range.len());
                    assert_eq!(out.len(), 7 * range.len() - if range.end == rows { 3 } else { 0 });
                    out.iter_mut().enumerate().for_each(|(i, y)| *y += (range.start + i / 7) as f32);
                    count.unwrap().iter_mut().for_each(|c| *c += 1);
                });
                assert_eq!(parts.into_inner(), threads.min(rows));
                assert!(out.iter().enumerate().all(|(i, &y)| y == (i / 7) as f32));
                assert!(count.iter().all(|&c| c == 1));
            }
        }
    }

    #[test]
    fn rows_know_their_number() {
        for threads in 1..5 {
            let mut out = vec![0.5; 31];
            Pool::new(threads).each_row(1, 3, &mut out, |row, out| out.iter_mut().for_each(|x| *x += row as f32));
            assert!(out.iter().enumerate().all(|(i, x)| *x == if i < 30 { (i / 3) as f32 + 0.5 } else { 0.5 }));
            Pool::new(threads).each_row(1, 0, &mut out, |_, _| unreachable!("rows of nothing are none"));
        }
    }

    #[test]
    fn a_pool_is_send_and_sync() {
        fn check<T: Send + Sync + std::fmt::Debug>(_: &T) {}
        check(&Pool::new(1));
    }
}
