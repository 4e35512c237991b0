//! Dropout: y = x/(1 − p) where an element is kept, else 0; applied to dy it gives dx.
//!
//! Whether element e (in torch's order over the batch) is kept is a function of the key of the training, its step, the
//! number of the draw within the program, and e; so no mask is stored, the gradient finds the same one again, and both
//! executors drop the same elements. Order on the CPU: one product per element with 1/(1 − p) rounded to f32.

use gradus_kernels::dropout::{self, dropout, kept, threshold};

use super::{Case, Cost, Op};
use crate::exec::Step;
use crate::exec::cpu::{Layout, Lower};
use crate::program::{Emit, Value};

impl Emit<'_> {
    /// y = mask∗x/(1 − p), of any shape. The mask belongs to `draw`, a number from [`Emit::draw`]: the gradient is the
    /// same op with the same draw, applied to dy.
    pub fn dropout(&mut self, x: Value, p: f64, draw: u64) -> Value {
        let y = self.batched_like(&self.name(""), x);
        self.op(Dropout { p, draw }, &[x], &[y]);
        y
    }
}

#[derive(Debug)]
struct Dropout {
    p: f64,
    draw: u64,
}

/// Bits of the step word that hold the draw.
const DRAW_BITS: u32 = 16;

impl Dropout {
    /// The step word of the random stream: two draws of one step, or one draw of two steps, never share it.
    fn word(&self, step: &Step) -> u64 {
        assert!(self.draw >> DRAW_BITS == 0, "a program has at most {} dropouts", 1 << DRAW_BITS);
        step.t << DRAW_BITS | self.draw
    }
}

impl Op for Dropout {
    fn line(&self, r: &[&str], w: &[&str]) -> String {
        format!("{} = mask{} ∗ {}/{}", w[0], self.draw, r[0], 1.0 - self.p)
    }

    fn cost(&self, case: &Case) -> Cost {
        // Ten rounds of the generator, two products and four other operations each.
        case.pointwise(60)
    }

    fn define(&self, case: &Case, r: &[&[f64]], w: &mut [Vec<f64>]) {
        let (word, threshold) = (self.word(&case.step), threshold(self.p));
        for (e, y) in w[0].iter_mut().enumerate() {
            *y = if kept(case.step.key, word, e as u64, threshold) { r[0][e] / (1.0 - self.p) } else { 0.0 };
        }
    }

    fn interleaves(&self, _: &Case) -> bool {
        true
    }

    fn lower(&self, l: &mut Lower<'_>) {
        let (x, y) = (l.read(0), l.write(0));
        let Layout { group, n, ld, together, .. } = x.layout;
        let interleaved = together > 1;
        let op = Dropout { ..*self };
        l.kernel([x.span], [y.span], [], [], move |run, s| {
            let (key, step) = (run.step.key, op.word(run.step));
            let (first, samples, p) = (run.step.before, run.batch(), op.p);
            let d = dropout::Dropout { first, samples, group, n, ld, key, step, p, interleaved };
            dropout(run.cpu, &d, s.read[0], s.write[0]);
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
        assert!(text.contains("d into net.0 = mask1 ∗ d into net.1/0.75"), "{text}");
    }

    #[test]
    fn steps_and_draws_share_no_word() {
        let word = |t, draw| Dropout { p: 0.5, draw }.word(&Step { t, ..Step::default() });
        assert_eq!([word(1, 1), word(1, 2), word(2, 1)], [0x1_0001, 0x1_0002, 0x2_0001]);
        assert!(std::panic::catch_unwind(|| word(1, 1 << DRAW_BITS)).is_err());
    }
}
