//! What the tests of this crate allocate numbers with: a page that may not be touched lies before and after each array, and
//! the array reaches up to one of them. A kernel that reads or writes one number too many is killed where it does so.
//!
//! All arrays of numbers of four bytes lie so, in every test. They end at a page, but in half of the cases of
//! [`crate::math::testing::cases`], where they begin at one. `GRADUS_FENCE=0` turns it off (for AddressSanitizer, which
//! has fences of its own on both sides).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering};

struct Fence;

#[global_allocator]
static ALLOCATOR: Fence = Fence;

thread_local! {
    static AT_START: Cell<bool> = const { Cell::new(false) };
}

/// Whether the arrays this thread allocates from now on begin at a page, and do not end at one.
pub(crate) fn at_start(at_start: bool) {
    AT_START.set(at_start);
}

/// Whether an allocation gets its own pages. The same for a layout as long as the process lives.
fn fenced(layout: Layout) -> bool {
    /// 0 as long as nobody has asked, 1 when there are fences, 2 when not.
    static ON: AtomicU8 = AtomicU8::new(0);
    if ON.load(Ordering::Relaxed) == 0 {
        // SAFETY: the name is a string that ends; what is found is one too, and nobody changes the environment yet.
        let off = unsafe {
            let value = libc::getenv(c"GRADUS_FENCE".as_ptr());
            !value.is_null() && *value == b'0' as libc::c_char
        };
        ON.store(1 + u8::from(off), Ordering::Relaxed);
    }
    layout.align() == align_of::<f32>() && ON.load(Ordering::Relaxed) == 1
}

/// The size of a page, and of the whole pages that hold so many bytes.
fn pages(bytes: usize) -> (usize, usize) {
    // SAFETY: a question without arguments to get wrong.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    (page, bytes.next_multiple_of(page))
}

// SAFETY: what `alloc` gives is of the size of the layout and aligned to four bytes (pages are, and so are sizes of arrays of
// numbers of four bytes), in pages that belong to nobody else until `dealloc` gives the same ones back; other layouts go to
// the system's allocator unchanged.
unsafe impl GlobalAlloc for Fence {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !fenced(layout) {
            // SAFETY: the caller's promise is passed on.
            return unsafe { System.alloc(layout) };
        }
        let (page, inside) = pages(layout.size());
        // SAFETY: new pages, wherever the system has room.
        let all = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(null_mut(), inside + 2 * page, libc::PROT_NONE, flags, -1, 0)
        };
        if all == libc::MAP_FAILED {
            return null_mut();
        }
        let first = all.cast::<u8>().wrapping_add(page);
        // SAFETY: all of these pages but the first and the last.
        if unsafe { libc::mprotect(first.cast(), inside, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return null_mut();
        }
        if AT_START.get() { first } else { first.wrapping_add(inside - layout.size()) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if !fenced(layout) {
            // SAFETY: the caller's promise is passed on.
            return unsafe { System.dealloc(ptr, layout) };
        }
        let (page, inside) = pages(layout.size());
        let begins = ptr.addr().is_multiple_of(page);
        let first = if begins { ptr } else { ptr.wrapping_sub(inside - layout.size()) };
        // SAFETY: the pages that `alloc` took: the array's, and one on each side.
        unsafe { libc::munmap(first.wrapping_sub(page).cast(), inside + 2 * page) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_reach_up_to_a_fence() {
        if !fenced(Layout::new::<f32>()) {
            return; // turned off
        }
        let n = 1027;
        let (page, _) = pages(1);
        for begins in [false, true] {
            at_start(begins);
            let mut x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let labels = vec![3_u32; n];
            for range in
                [x.as_ptr_range().start..x.as_ptr_range().end, labels.as_ptr().cast()..labels.as_ptr_range().end.cast()]
            {
                let at = if begins { range.start } else { range.end };
                assert!(at.addr().is_multiple_of(page), "{range:?}");
            }
            // Longer and shorter ones hold what they held.
            x.extend_from_slice(&[5.0; 2000]);
            x.truncate(3);
            x.shrink_to_fit();
            assert_eq!(x, [0.0, 1.0, 2.0]);
        }
    }
}
