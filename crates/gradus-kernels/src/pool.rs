//! The threads that share a kernel's work.
//!
//! Workers live as long as the pool. Between two regions of work they spin for about 50 µs, because steps of small
//! networks follow each other faster than the system can wake a thread, and then sleep, because a worker that spins for
//! ever takes a core from everybody else. A region allocates nothing.

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
const SPIN: Duration = Duration::from_micros(50);

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

type Payload = Box<dyn Any + Send>;

/// What the threads share. Aligned so that nothing else lives on the lines they fight for.
#[repr(align(128))]
struct Shared {
    /// The region's number << 32 | `OPEN` | workers inside. A worker enters by raising the count while the region is open;
    /// the caller closes it and waits for the count to be 0. So a worker that wakes up late is not waited for, and cannot
    /// touch a region that has ended.
    state: AtomicU64,
    /// The next part to be taken.
    next: AtomicUsize,
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
    /// Takes parts until none is left.
    fn work(&self, region: Region) {
        // SAFETY: the caller of this function is inside the region, so `run` has not returned and `f` is alive.
        let f = unsafe { &*region.f };
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= region.parts {
                return;
            }
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| f(part))) {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            }
        }
    }

    /// The life of a worker.
    fn serve(&self) {
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
                            self.work(region);
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
            for _ in 0..64 {
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
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
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
            pool.workers.push(worker.spawn(move || shared.serve()).expect("the system refused a thread"));
        }
        // A thread's first moments ask for memory: they are over before the first region, which may not.
        while pool.shared.ready.load(Ordering::Acquire) < pool.workers.len() {
            std::thread::yield_now();
        }
        pool
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
        shared.next.store(0, Ordering::Relaxed);
        let number = (shared.state.load(Ordering::Relaxed) >> 32) + 1;
        shared.state.store(number << 32 | OPEN, Ordering::SeqCst);
        shared.wake();
        shared.work(region);
        let mut inside = shared.state.fetch_and(!OPEN, Ordering::AcqRel) & INSIDE;
        let mut spins = 0_u32;
        while inside != 0 {
            // More threads than cores: let the worker that is waited for have this one.
            spins += 1;
            if spins.is_multiple_of(1 << 14) {
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

    /// Into how many parts `items` items go, `grain` or more each, that cost `work` together.
    pub(crate) fn parts(&self, work: Work, items: usize, grain: usize) -> usize {
        let parts = match work.size() {
            Size::Small => 1,
            Size::Medium => self.threads(),
            // Long enough for another process to take a core away meanwhile: smaller parts even that out.
            Size::Large if self.threads() > 1 => self.threads() * 4,
            Size::Large => 1,
        };
        parts.min(items / grain.max(1)).max(1)
    }

    /// Splits `0..items` into ranges of `grain` or more items and runs `f` on each, over the threads where it pays.
    pub(crate) fn split(&self, work: Work, items: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
        match self.parts(work, items, grain) {
            1 => f(0..items),
            parts => self.run(parts, &|i| f(share(items, grain, i, parts))),
        }
    }

    /// Splits `rows` rows of `out`, `ld` apart, and runs `f(rows, their part of out)` on each part, over the threads
    /// where it pays.
    pub(crate) fn split_rows(
        &self,
        work: Work,
        rows: usize,
        ld: usize,
        out: &mut [f32],
        f: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) {
        let out = Output::new(out);
        self.split(work, rows, 1, |range| {
            // The last row may be shorter than `ld`. Saturating: where it is so long that there is no second row.
            let end = range.end.saturating_mul(ld).min(out.len());
            let start = range.start.saturating_mul(ld).min(end);
            // SAFETY: `split` gives disjoint ranges of rows, which are disjoint stretches.
            let part = unsafe { out.slice(start..end) };
            f(range, part);
        });
    }
}

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

enum Size {
    Small,
    Medium,
    Large,
}

impl Work {
    /// Small is less than about 20 µs on one core (100 GFLOP/s, 20 GB/s), where a second core does not pay; large is
    /// more than about 500 µs.
    fn size(self) -> Size {
        let nanoseconds = match self {
            Work::Flops(n) => n / 100,
            Work::Bytes(n) => n / 20,
        };
        match nanoseconds {
            0..20_000 => Size::Small,
            20_000..500_000 => Size::Medium,
            _ => Size::Large,
        }
    }
}

/// An output that the parts of a region write to, each its own stretches.
pub(crate) struct Output<'a> {
    ptr: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: it gives access through unsafe functions alone, whose callers keep to stretches that nobody else uses.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut [f32]) -> Self {
        Output { ptr: out.as_mut_ptr(), len: out.len(), lifetime: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first number. To write through it is for the caller to justify: in bounds, and nobody else there.
    pub(crate) fn ptr(&self) -> *mut f32 {
        self.ptr
    }

    /// A stretch of it.
    ///
    /// # Panics
    /// When it reaches past the end.
    ///
    /// # Safety
    /// Nobody else uses any of it while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &mut [f32] {
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
    fn rows_are_split_where_it_pays() {
        let pool = Pool::new(3);
        for (work, most) in [(Work::Flops(10), 1), (Work::Flops(3_000_000), 3), (Work::Bytes(1 << 30), 12)] {
            let mut out = vec![0.0; 99 * 7 + 4];
            let parts = AtomicUsize::new(0);
            pool.split_rows(work, 100, 7, &mut out, |rows, part| {
                parts.fetch_add(1, Ordering::Relaxed);
                assert_eq!(part.len(), if rows.end == 100 { rows.len() * 7 - 3 } else { rows.len() * 7 });
                for (i, x) in part.iter_mut().enumerate() {
                    *x += (rows.start + i / 7) as f32;
                }
            });
            assert_eq!(parts.load(Ordering::Relaxed), most);
            assert!(out.iter().enumerate().all(|(i, &x)| x == (i / 7) as f32));
        }
    }

    #[test]
    fn a_pool_is_send_and_sync() {
        fn check<T: Send + Sync + std::fmt::Debug>(_: &T) {}
        check(&Pool::new(1));
    }
}
