//! The outer product of two vectors: the gradient of a matrix of weights from a single sample.
//!
//! There is one multiplication for each number that is written, so what counts is the way of the numbers through the caches: row
//! after row, each from its first column to its last, and with the step of the weights in the same pass.

use crate::lanes::{Lanes, by_lanes};
use crate::optim::Sgd;

/// c(i, j) = a(i)·b(j), or a step of c by that gradient.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    /// Rows and columns.
    pub m: usize,
    pub n: usize,
    pub a: *const f32,
    /// From one number of `a` to the next.
    pub a_step: usize,
    pub b: *const f32,
    pub c: *mut f32,
    /// From one row of `c` to the next.
    pub c_step: usize,
    pub sgd: Option<Sgd>,
}

by_lanes! {
    /// # Safety
    /// `m` numbers of `a` and `n` of `b` can be read, `m` rows of `n` numbers of `c` written; they overlap nothing else, and no
    /// other thread uses them.
    pub(crate) fn outer(o: &Outer) = all
}

/// # Safety
/// As [`outer`], where the instruction set is there.
#[inline(always)]
unsafe fn all<V: Lanes>(o: &Outer) {
    // SAFETY: the caller's promises.
    unsafe {
        match o.sgd {
            None => rows::<V>(
                o,
                #[inline(always)]
                |_, g, _| g,
            ),
            Some(sgd) if sgd.weight_decay == 0.0 => rows::<V>(
                o,
                #[inline(always)]
                |c, g, left| sgd.step::<V, false>(first(c, left), g),
            ),
            Some(sgd) => rows::<V>(
                o,
                #[inline(always)]
                |c, g, left| sgd.step::<V, true>(first(c, left), g),
            ),
        }
    }
}

/// The `left` numbers there, or as many as a vector has.
///
/// # Safety
/// They can be read, where the instruction set is there.
#[inline(always)]
unsafe fn first<V: Lanes>(c: *const f32, left: usize) -> V {
    // SAFETY: the caller's promises.
    unsafe { if left < V::N { V::load_first(c, left) } else { V::load(c) } }
}

/// With what `finish` makes of a vector of products, which is to lie at its first argument, the `left` columns there or more.
///
/// # Safety
/// As [`all`].
#[inline(always)]
unsafe fn rows<V: Lanes>(o: &Outer, finish: impl Fn(*mut f32, V, usize) -> V) {
    let Outer { m, n, a, a_step, b, c, c_step, .. } = *o;
    for i in 0..m {
        // SAFETY: numbers of `a`, and of `b` and a row of `c` below `n`.
        unsafe {
            let (factor, row) = (V::splat(*a.add(i * a_step)), c.add(i * c_step));
            // A chain from 0, as any other product: it has no −0.
            let product = |b| V::splat(0.0).add_product(factor, b);
            let mut j = 0;
            while n - j >= V::N {
                finish(row.add(j), product(V::load(b.add(j))), V::N).store(row.add(j));
                j += V::N;
            }
            if j < n {
                let left = n - j;
                finish(row.add(j), product(V::load_first(b.add(j), left)), left).store_first(row.add(j), left);
            }
        }
    }
}
