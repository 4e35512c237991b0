//! Dropout: y = x/(1 − p) where an element is kept, else 0; applied to dy it gives dx.
//!
//! Whether element e (in torch's order over the batch) is kept is a function of the key of the training, its step, the
//! number of the draw within the program, and e; so both executors, and any number of threads, drop the same elements. The mask
//! is drawn once and kept for the gradient. Order on the CPU: one product per element with 1/(1 − p) rounded to f32.

use gradus_kernels::dropout::{self, kept, mask, masked, threshold};

use super::{Case, Cost, Op};
use crate::exec::Step;
use crate::exec::cpu::{Layout, Lower};
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// A mask of the shape of `x`, whole numbers: 0 with probability p (0 to 1), else 1. It belongs to `draw`, a number from
    /// [`Emit::draw`].
    pub fn mask(&mut self, x: Value, p: f64, draw: u64) -> Value {
        let dims = self.dims(x).to_vec();
        let mask = self.batched_ints(&format!("mask{draw}"), &dims);
        self.op(Mask { p, draw }, &[], &[mask]);
        mask
    }

    /// y = mask∗x/(1 − p), of any shape. The gradient is the same op with the same mask, applied to dy.
    pub fn masked(&mut self, x: Value, p: f64, mask: Value) -> Value {
        let y = self.batched_like(&self.name(""), x);
        self.op(Masked { p }, &[x, mask], &[y]);
        y
    }
}

#[derive(Debug)]
struct Mask {
    p: f64,
    draw: u64,
}

#[derive(Debug)]
struct Masked {
    p: f64,
}

/// Bits of the step word that hold the draw.
const DRAW_BITS: u32 = 16;

impl Mask {
    /// The step word of the random stream: two draws of one step, or one draw of two steps, never share it.
    fn word(&self, step: &Step) -> u64 {
        assert!(self.draw >> DRAW_BITS == 0, "a program has at most {} dropouts", 1 << DRAW_BITS);
        step.t << DRAW_BITS | self.draw
    }
}

impl Op for Mask {
    fn line(&self, _: &[&str], w: &[&str]) -> String {
        format!("{} = 0 with probability {}, else 1", w[0], self.p)
    }

    fn cost(&self, case: &Case) -> Cost {
        // Ten rounds of the generator, two products and four other operations each.
        case.pointwise(60)
    }

    fn define(&self, case: &Case, _: &[&[f64]], w: &mut [Vec<f64>]) {
        let (word, threshold) = (self.word(&case.step), threshold(self.p));
        for (e, m) in w[0].iter_mut().enumerate() {
            *m = f64::from(u8::from(kept(case.step.key, word, e as u64, threshold)));
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let out = l.write(0);
        let Layout { group, n, ld, together, .. } = out.layout;
        let interleaved = together > 1;
        let op = Mask { ..*self };
        l.kernel([], [], [], [out.ints], move |run, s| {
            let (key, step) = (run.step.key, op.word(run.step));
            let (first, samples, p) = (run.step.before, run.batch(), op.p);
            let d = dropout::Dropout { first, samples, group, n, ld, key, step, p, interleaved };
            let [out] = s.int_write;
            mask(run.cpu, &d, out);
        });
    }
}

impl Op for Masked {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = {} ∗ {}/{}", w[0], r[1], r[0], 1.0 - self.p)
    }

    fn cost(&self, case: &Case) -> Cost {
        case.pointwise(1)
    }

    fn define(&self, _: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        for ((y, x), m) in w[0].iter_mut().zip(r[0]).zip(r[1]) {
            *y = if *m == 0.0 { 0.0 } else { x / (1.0 - self.p) };
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, mask, y) = (l.read(0), l.read(1), l.write(0));
        assert_eq!(x.layout, y.layout, "gradients lie as the numbers do");
        let (layout, ld, p) = (x.layout, [x, mask].map(|place| place.layout.ld), self.p);
        l.kernel([x.span], [y.span], [mask.ints], [], move |run, s| {
            let (rows, n) = (layout.rows(run.batch()), layout.n * layout.together);
            let ([x], [mask], [y]) = (s.read, s.int_read, s.write);
            masked(run.cpu, rows, n, p, (x, ld[0]), (mask, ld[1]), (y, ld[0]));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{agree, explain};
    use super::*;

    #[test]
    fn both_executors_agree() {
        for input in [&[1][..], &[17], &[3, 5, 2], &[16, 3, 3]] {
            agree(&["Dropout 0.3", "Dropout 0.5"], input);
        }
    }

    #[test]
    fn the_gradient_draws_the_same_mask() {
        let text = explain(&["Dropout 0.25", "Dropout 0.5"], &[3]);
        assert!(text.contains("net.0 = mask1 ∗ x/0.75") && text.contains("d into net.1 = mask2 ∗ d net/0.5"), "{text}");
        assert!(text.contains("mask1 = 0 with probability 0.25, else 1"), "{text}");
        assert!(text.contains("d into net.0 = mask1 ∗ d into net.1/0.75"), "{text}");
    }

    #[test]
    fn steps_and_draws_share_no_word() {
        let word = |t, draw| Mask { p: 0.5, draw }.word(&Step { t, ..Step::default() });
        assert_eq!([word(1, 1), word(1, 2), word(2, 1)], [0x1_0001, 0x1_0002, 0x2_0001]);
        assert!(std::panic::catch_unwind(|| word(1, 1 << DRAW_BITS)).is_err());
    }
}
