//! Windows that slide over images: what convolution and pooling share.

use std::fmt;

use gradus_kernels::pooling;

use crate::error::Result;
use crate::exec::cpu::{LANES, Layout};
use crate::fail;
use crate::layers::shape_text;

/// A window of `kernel` rows and columns that moves over an image by `stride`, from `padding` before its edge to as much
/// behind it. All pairs are (down, across).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: (usize, usize),
    /// Steps between neighbouring outputs.
    pub stride: (usize, usize),
    /// Rows above and below, columns left and right that are not there.
    pub padding: (usize, usize),
}

impl Window {
    /// Checks that it fits on images of shape `x` (C, H, W); returns the height and width of what it gives.
    ///
    /// # Errors
    /// [`Kind::Shape`](crate::error::Kind::Shape) when `x` is no image or smaller than the kernel,
    /// [`Kind::Argument`](crate::error::Kind::Argument) for a kernel or a stride of 0; `layer` is who asks.
    pub(crate) fn fit(&self, layer: &str, x: &[usize]) -> Result<(usize, usize)> {
        let (kernel, stride) =
            (shape_text(&[self.kernel.0, self.kernel.1]), shape_text(&[self.stride.0, self.stride.1]));
        if self.kernel.0 == 0 || self.kernel.1 == 0 {
            fail!(Argument, "{layer}: a kernel of {kernel} covers nothing");
        }
        if self.stride.0 == 0 || self.stride.1 == 0 {
            fail!(Argument, "{layer}: a stride of {stride} never moves on");
        }
        let &[_, h, w] = x else {
            fail!(Shape, "{layer} wants images (channels, height, width), found {}", shape_text(x));
        };
        let pad = |size: usize, by: usize| size.saturating_add(by.saturating_mul(2));
        let padded = (pad(h, self.padding.0), pad(w, self.padding.1));
        if self.kernel.0 > padded.0 || self.kernel.1 > padded.1 {
            let padded = shape_text(&[padded.0, padded.1]);
            fail!(
                Shape,
                "{layer}: the kernel is {kernel}, larger than the image, {} or {padded} with padding",
                shape_text(x)
            );
        }
        Ok(self.outputs(h, w))
    }

    /// The same for a pooling, whose padding is at most half of the kernel, as torch wants it: no window lies outside of the image,
    /// where it would have no largest number.
    ///
    /// # Errors
    /// Those of [`Window::fit`], and [`Kind::Argument`](crate::error::Kind::Argument) for a larger padding.
    pub(crate) fn fit_pooling(&self, layer: &str, x: &[usize]) -> Result<(usize, usize)> {
        let (kernel, padding) = (self.kernel, self.padding);
        if padding.0 > kernel.0 / 2 || padding.1 > kernel.1 / 2 {
            let (kernel, padding) = (shape_text(&[kernel.0, kernel.1]), shape_text(&[padding.0, padding.1]));
            fail!(Argument, "{layer}: the padding is {padding}, more than half of the kernel, {kernel}");
        }
        self.fit(layer, x)
    }

    /// The kernels' description of a pooling of images of shape `x` (C, H, W), for no samples yet. Interleaved samples are
    /// channels to it.
    pub(super) fn pooling(self, x: &[usize], of_x: Layout, of_y: Layout) -> pooling::Window {
        let Window { kernel, stride, padding } = self;
        let (ldx, ldy) = (of_x.ld, of_y.ld);
        // Whole registers are quicker: what lies in the padding is pooled too, and never looked at.
        let c = (x[0] * of_x.together).next_multiple_of(LANES).min(ldx).min(ldy);
        pooling::Window { batch: 0, c, h: x[1], w: x[2], kernel, stride, padding, ldx, ldy }
    }

    /// Height and width of what it gives on images that it fits: ⌊(size + 2·padding − kernel)/stride⌋ + 1.
    pub(super) fn outputs(&self, h: usize, w: usize) -> (usize, usize) {
        // Saturating: a mistyped padding is refused for the size of what it gives.
        let count = |size: usize, kernel, stride, padding: usize| {
            (size.saturating_add(padding.saturating_mul(2)) - kernel) / stride + 1
        };
        (count(h, self.kernel.0, self.stride.0, self.padding.0), count(w, self.kernel.1, self.stride.1, self.padding.1))
    }

    /// Calls `f(position in the output, position in the kernel, position in the image)` for every output and what its
    /// window covers of an image of h × w, all row by row. What is not there is left out.
    pub(super) fn each(&self, h: usize, w: usize, mut f: impl FnMut(usize, usize, usize)) {
        let (out_h, out_w) = self.outputs(h, w);
        for out in 0..out_h * out_w {
            let (i, j) = (out / out_w * self.stride.0, out % out_w * self.stride.1);
            for tap in 0..self.kernel.0 * self.kernel.1 {
                let (row, column) = (i + tap / self.kernel.1, j + tap % self.kernel.1);
                let inside = |at: usize, padding: usize, size: usize| (padding..padding + size).contains(&at);
                if inside(row, self.padding.0, h) && inside(column, self.padding.1, w) {
                    f(out, tap, (row - self.padding.0) * w + column - self.padding.1);
                }
            }
        }
    }
}

impl fmt::Display for Window {
    /// What differs from a stride of 1 and no padding, each after a comma: `, stride 2, padding 1x0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, pair, default) in [("stride", self.stride, 1), ("padding", self.padding, 0)] {
            match pair {
                (a, b) if a == b && a == default => {}
                (a, b) if a == b => write!(f, ", {name} {a}")?,
                (a, b) => write!(f, ", {name} {a}x{b}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_covers_what_is_there() {
        let window = Window { kernel: (2, 3), stride: (2, 1), padding: (1, 0) };
        let mut seen = Vec::new();
        window.each(2, 3, |out, tap, pixel| seen.push((out, tap, pixel)));
        // The upper row of the first window, and the lower one of the second, is padding.
        assert_eq!(seen, [(0, 3, 0), (0, 4, 1), (0, 5, 2), (1, 0, 3), (1, 1, 4), (1, 2, 5)]);
        assert_eq!(window.to_string(), ", stride 2x1, padding 1x0");
    }
}
