//! The memory a plan runs in, and how an op gets its slices of it.
//!
//! There are two regions: the *store* (parameters, gradients, optimiser state, buffers), which may be shared by threads
//! that only predict, and the *work* region (inputs, activations, scratch) of one session. A third, small arena holds
//! integers (labels, positions of maxima). Where an op's operands lie is fixed when the plan is made: [`Operands::new`]
//! checks there that nothing written overlaps anything else, so that a step needs no check but the lengths.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A 64-byte aligned, zeroed slice of `f32` on the heap.
#[derive(Debug)]
pub struct Buffer {
    ptr: NonNull<f32>,
    len: usize,
}

// SAFETY: a Buffer owns its memory, as a Box<[f32]> does.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Alignment in bytes: a cache line, and the widest vector register.
    pub const ALIGN: usize = 64;

    /// A large page, which takes one entry of the processor's table of pages, where 512 small ones take an entry each.
    const PAGE: usize = 1 << 21;

    /// Buffers of so many bytes or more lie in large pages where the system has them.
    const LARGE: usize = 4 * Self::PAGE;

    /// `len` zeros.
    ///
    /// # Panics
    /// When `len` numbers are more than an address space holds.
    pub fn zeros(len: usize) -> Buffer {
        let layout = Self::layout(len);
        // SAFETY: the layout has a size of at least 64 bytes.
        let ptr = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(ptr.cast::<f32>()) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if layout.align() == Self::PAGE {
            // SAFETY: a hint about whole pages that this buffer owns; what it does not help, it does not change.
            unsafe { libc::madvise(ptr.cast(), layout.size(), libc::MADV_HUGEPAGE) };
        }
        // SAFETY: so many bytes have been allocated; zero bytes are zeros.
        unsafe { ptr.write_bytes(0, layout.size()) };
        Buffer { ptr: start, len }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len.max(16).checked_mul(4).expect("buffer larger than the address space");
        let align = if bytes < Self::LARGE { Self::ALIGN } else { Self::PAGE };
        Layout::from_size_align(bytes, align).expect("buffer larger than the address space")
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        let mut copy = Buffer::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeros` with the same layout.
        unsafe { dealloc(self.ptr.as_ptr().cast(), Self::layout(self.len)) }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `len` initialised numbers, owned by self.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `&mut self` makes it unique.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

/// Which of the two float regions a [`Span`] lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Parameters, gradients, optimiser state, buffers.
    Store,
    /// Inputs, activations, scratch.
    Work,
}

/// A stretch of floats in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it lies.
    pub region: Region,
    /// The first number.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// The distance between two samples of a batch; 0 for what is the same for all of them.
    pub sample: usize,
}

impl Span {
    /// Nothing.
    pub const NONE: Span = Span { region: Region::Work, start: 0, len: 0, sample: 0 };

    fn end(&self) -> usize {
        self.start.checked_add(self.len).expect("span past the address space")
    }

    fn overlaps(&self, other: &Span) -> bool {
        self.region == other.region
            && self.len > 0
            && other.len > 0
            && self.start < other.end()
            && other.start < self.end()
    }
}

/// A stretch of the integer arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntSpan {
    /// The first number.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// As of a [`Span`].
    pub sample: usize,
}

impl IntSpan {
    /// Nothing.
    pub const NONE: IntSpan = IntSpan { start: 0, len: 0, sample: 0 };
}

/// The memory of one running plan, borrowed for a step.
#[derive(Debug)]
pub struct Memory<'a> {
    store: *mut f32,
    store_len: usize,
    writable: bool,
    work: *mut f32,
    work_len: usize,
    ints: *mut u32,
    ints_len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> Memory<'a> {
    /// Memory whose store may be written: a training step.
    pub fn new(store: &'a mut [f32], work: &'a mut [f32], ints: &'a mut [u32]) -> Self {
        Self {
            store: store.as_mut_ptr(),
            store_len: store.len(),
            writable: true,
            work: work.as_mut_ptr(),
            work_len: work.len(),
            ints: ints.as_mut_ptr(),
            ints_len: ints.len(),
            lifetime: PhantomData,
        }
    }

    /// Memory whose store is only read and may be shared: a prediction. An op that writes to the store panics.
    pub fn shared(store: &'a [f32], work: &'a mut [f32], ints: &'a mut [u32]) -> Self {
        Self {
            store: store.as_ptr().cast_mut(),
            store_len: store.len(),
            writable: false,
            work: work.as_mut_ptr(),
            work_len: work.len(),
            ints: ints.as_mut_ptr(),
            ints_len: ints.len(),
            lifetime: PhantomData,
        }
    }
}

/// Where one op's operands lie: `R` slices to read, `W` to write, `IR` and `IW` of the integer arena.
#[derive(Clone, Debug)]
pub struct Operands<const R: usize, const W: usize, const IR: usize = 0, const IW: usize = 0> {
    read: [Span; R],
    write: [Span; W],
    int_read: [IntSpan; IR],
    int_write: [IntSpan; IW],
    store_len: usize,
    work_len: usize,
    ints_len: usize,
    writes_store: bool,
    /// How many samples all spans have that know their samples.
    samples: usize,
}

/// The slices of one op, resolved by [`Operands::resolve`].
#[derive(Debug)]
pub struct Slices<'m, const R: usize, const W: usize, const IR: usize = 0, const IW: usize = 0> {
    /// What the op reads; two may be the same.
    pub read: [&'m [f32]; R],
    /// What the op writes; disjoint from all else.
    pub write: [&'m mut [f32]; W],
    /// Integers it reads.
    pub int_read: [&'m [u32]; IR],
    /// Integers it writes.
    pub int_write: [&'m mut [u32]; IW],
}

impl<const R: usize, const W: usize, const IR: usize, const IW: usize> Operands<R, W, IR, IW> {
    /// Fixes the operands of an op.
    ///
    /// # Panics
    /// When something written overlaps another operand: a mistake of the planner, found when the plan is made.
    pub fn new(read: [Span; R], write: [Span; W], int_read: [IntSpan; IR], int_write: [IntSpan; IW]) -> Self {
        for (i, w) in write.iter().enumerate() {
            for other in read.iter().chain(&write[..i]) {
                assert!(!w.overlaps(other), "operand {w:?} is written and overlaps {other:?}");
            }
        }
        let int = |s: &IntSpan| Span { region: Region::Work, start: s.start, len: s.len, sample: s.sample };
        for (i, w) in int_write.iter().enumerate() {
            for other in int_read.iter().chain(&int_write[..i]) {
                assert!(!int(w).overlaps(&int(other)), "integers {w:?} are written and overlap {other:?}");
            }
        }
        let ints = int_read.iter().chain(&int_write).map(int);
        let all = read.iter().chain(&write).copied().chain(ints.clone());
        let reach = |region| read.iter().chain(&write).filter(|s| s.region == region).map(Span::end).max().unwrap_or(0);
        Self {
            store_len: reach(Region::Store),
            work_len: reach(Region::Work),
            ints_len: ints.map(|s| s.end()).max().unwrap_or(0),
            samples: all.filter_map(|s| s.len.checked_div(s.sample)).min().unwrap_or(usize::MAX),
            writes_store: write.iter().any(|s| s.region == Region::Store),
            read,
            write,
            int_read,
            int_write,
        }
    }

    /// The slices, in `memory`, from the sample `first` on.
    ///
    /// # Panics
    /// When the memory is smaller than the plan it belongs to, there are fewer samples, or the op writes to a shared store.
    #[inline]
    pub fn resolve<'m>(&self, memory: &'m mut Memory<'_>, first: usize) -> Slices<'m, R, W, IR, IW> {
        assert!(
            self.store_len <= memory.store_len
                && self.work_len <= memory.work_len
                && self.ints_len <= memory.ints_len
                && first <= self.samples
                && (memory.writable || !self.writes_store),
            "memory does not belong to this plan"
        );
        let base = |s: &Span| match s.region {
            Region::Store => memory.store,
            Region::Work => memory.work,
        };
        // SAFETY: every span ends within its region (asserted above against the farthest end, computed in `new` from
        // fields that do not change), and has `first` samples at least before its end (likewise). `Memory` borrows the
        // regions mutably (a store not `writable` is only read), and the returned slices borrow the `Memory` mutably, so
        // that no other slices of it exist. Within one call, `new` has checked that a written span overlaps no other one
        // of its region; regions are separate slices.
        unsafe {
            Slices {
                read: std::array::from_fn(|i| {
                    let (s, before) = (&self.read[i], first * self.read[i].sample);
                    std::slice::from_raw_parts(base(s).add(s.start + before), s.len - before)
                }),
                write: std::array::from_fn(|i| {
                    let (s, before) = (&self.write[i], first * self.write[i].sample);
                    std::slice::from_raw_parts_mut(base(s).add(s.start + before), s.len - before)
                }),
                int_read: std::array::from_fn(|i| {
                    let (s, before) = (&self.int_read[i], first * self.int_read[i].sample);
                    std::slice::from_raw_parts(memory.ints.add(s.start + before), s.len - before)
                }),
                int_write: std::array::from_fn(|i| {
                    let (s, before) = (&self.int_write[i], first * self.int_write[i].sample);
                    std::slice::from_raw_parts_mut(memory.ints.add(s.start + before), s.len - before)
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(start: usize, len: usize) -> Span {
        Span { region: Region::Work, start, len, sample: 0 }
    }

    #[test]
    fn slices_are_where_the_plan_put_them() {
        let (mut store, mut w, mut ints) = (Buffer::zeros(8), Buffer::zeros(8), vec![0u32; 4]);
        store[3] = 5.0;
        let ops = Operands::new(
            [Span { region: Region::Store, start: 2, len: 3, sample: 0 }],
            [work(0, 2), work(2, 1)],
            [],
            [IntSpan { start: 1, len: 2, sample: 0 }],
        );
        let mut memory = Memory::new(&mut store, &mut w, &mut ints);
        let s = ops.resolve(&mut memory, 0);
        s.write[0][1] = s.read[0][1];
        s.write[1][0] = 7.0;
        s.int_write[0][1] = 9;
        assert_eq!((w[1], w[2], ints[2]), (5.0, 7.0, 9));
        assert_eq!(w.as_ptr() as usize % Buffer::ALIGN, 0);
    }

    #[test]
    fn slices_begin_at_a_sample() {
        let (mut store, mut w, mut ints) = (Buffer::zeros(0), Buffer::zeros(16), (0..6).collect::<Vec<u32>>());
        w.iter_mut().zip(0..).for_each(|(w, i)| *w = i as f32);
        let batched = Span { sample: 3, ..work(1, 9) };
        let ops = Operands::new([batched, work(10, 2)], [], [IntSpan { start: 2, len: 3, sample: 1 }], []);
        let mut memory = Memory::new(&mut store, &mut w, &mut ints);
        let s = ops.resolve(&mut memory, 2);
        assert_eq!((s.read, s.int_read), ([&[7.0, 8.0, 9.0][..], &[10.0, 11.0]], [&[4][..]]));
        assert_eq!(ops.resolve(&mut memory, 3).read[0], &[]);
    }

    #[test]
    #[should_panic(expected = "does not belong")]
    fn samples_that_there_are_not_are_refused() {
        let (mut store, mut w) = (Buffer::zeros(0), Buffer::zeros(8));
        let ops = Operands::<1, 0>::new([Span { sample: 3, ..work(0, 8) }], [], [], []);
        ops.resolve(&mut Memory::new(&mut store, &mut w, &mut []), 3);
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn a_written_operand_overlaps_nothing() {
        let _ = Operands::<1, 1>::new([work(0, 4)], [work(3, 1)], [], []);
    }

    #[test]
    #[should_panic(expected = "does not belong")]
    fn a_shared_store_is_not_written() {
        let (store, mut w) = (Buffer::zeros(8), Buffer::zeros(8));
        let ops = Operands::<0, 1>::new([], [Span { region: Region::Store, start: 0, len: 1, sample: 0 }], [], []);
        ops.resolve(&mut Memory::shared(&store, &mut w, &mut []), 0);
    }

    #[test]
    #[should_panic(expected = "does not belong")]
    fn a_small_memory_is_refused() {
        let (mut store, mut w) = (Buffer::zeros(8), Buffer::zeros(8));
        Operands::<1, 0>::new([work(7, 2)], [], [], []).resolve(&mut Memory::new(&mut store, &mut w, &mut []), 0);
    }
}
