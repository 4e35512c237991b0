//! `AvgPool2d`: the mean of each window of an image, channel by channel.
//!
//! # Shapes
//! x (B, C, H, W), y (B, C, H′, W′) with H′ = ⌊(H + 2·padding − kH)/stride⌋ + 1 and W′ likewise. Nothing is kept for the
//! backward pass.
//!
//! y = Σ x/(kH·kW) over the window. Padding counts as zeros: a window is divided by its size wherever it lies. Rows and
//! columns at the end that make no whole window are left out.
//!
//! Backward: dx = Σ dy/(kH·kW) of the windows that cover it.
//!
//! Source: torch.nn.AvgPool2d with its defaults `count_include_pad=True`, `ceil_mode=False`.

use super::{Back, Declare, Layer, Pair};
use crate::error::Result;
use crate::ops::Window;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional, required};

/// The mean of each window. Pairs are (down, across).
#[derive(Clone, Debug, PartialEq)]
pub struct AvgPool2d {
    /// Height and width of a window.
    pub kernel_size: (usize, usize),
    /// Steps between neighbouring windows.
    pub stride: (usize, usize),
    /// Rows of zeros above and below, columns left and right; at most half a window.
    pub padding: (usize, usize),
}

impl AvgPool2d {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "AvgPool2d",
        summary: "the mean of each window of an image",
        formula: "y = Σ x/(kH·kW) over the window;  dx = Σ dy/(kH·kW) of the windows that cover it",
        shapes: "(C, H, W) → (C, H′, W′), H′ = ⌊(H + 2·padding − kH)/stride⌋ + 1",
        args: &[
            required("kernel_size", ArgKind::Pair, "height and width of a window"),
            optional("stride", ArgKind::Pair, "", "steps between neighbouring windows; the kernel size when left out"),
            optional(
                "padding",
                ArgKind::Pair,
                "0",
                "rows and columns of zeros around the image, which count; at most half a window",
            ),
        ],
        make: |a| {
            let kernel_size = a.pair("kernel_size");
            let stride = if a.has("stride") { a.pair("stride") } else { kernel_size };
            Ok(Box::new(AvgPool2d { kernel_size, stride, padding: a.pair("padding") }))
        },
    };

    /// Windows of this size side by side.
    pub fn new(kernel_size: impl Pair) -> AvgPool2d {
        let kernel_size = kernel_size.pair();
        AvgPool2d { kernel_size, stride: kernel_size, padding: (0, 0) }
    }

    /// With this stride.
    #[must_use]
    pub fn stride(mut self, stride: impl Pair) -> AvgPool2d {
        self.stride = stride.pair();
        self
    }

    /// With this padding.
    #[must_use]
    pub fn padding(mut self, padding: impl Pair) -> AvgPool2d {
        self.padding = padding.pair();
        self
    }

    fn window(&self) -> Window {
        Window { kernel: self.kernel_size, stride: self.stride, padding: self.padding }
    }
}

impl Layer for AvgPool2d {
    fn spec(&self) -> Spec {
        Spec::new("AvgPool2d")
            .arg("kernel_size", self.kernel_size)
            .arg_unless("stride", self.stride, self.kernel_size)
            .arg_unless("padding", self.padding, 0)
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        let (h, w) = self.window().fit_pooling("AvgPool2d", x)?;
        Ok(vec![x[0], h, w])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let window = self.window();
        let y = e.avg_pool2d(window, x);
        (y, Box::new(move |e, dy| e.avg_pool2d_grad(window, dy, x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{refuses, run};

    #[test]
    fn a_value_worked_by_hand() {
        // Windows over columns 0–1 and 1–2; the middle column counts twice.
        let layer = AvgPool2d::new(2).stride(1);
        let r = run(layer, &[1, 1, 2, 3], &[1.0, 7.0, 3.0, 2.0, 6.0, 4.0], &[], &[8.0, 4.0]);
        assert_eq!((r.y, r.dx), (vec![4.0, 5.0], vec![2.0, 3.0, 1.0, 2.0, 3.0, 1.0]));
    }

    #[test]
    fn padding_counts_as_zeros() {
        // One pixel of each window lies in the image, and each is divided by four.
        let layer = AvgPool2d::new(2).padding(1);
        let r = run(layer, &[1, 1, 2, 2], &[4.0, 8.0, -12.0, 16.0], &[], &[4.0, 8.0, 12.0, 16.0]);
        assert_eq!((r.y, r.dx), (vec![1.0, 2.0, -3.0, 4.0], vec![1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn what_makes_no_whole_window_is_left_out() {
        let r = run(AvgPool2d::new((1, 2)), &[1, 1, 1, 5], &[1.0, 3.0, 5.0, 9.0, 100.0], &[], &[2.0, 6.0]);
        assert_eq!((r.y, r.dx), (vec![2.0, 7.0], vec![1.0, 1.0, 3.0, 3.0, 0.0]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        refuses(AvgPool2d::new(2), &[7], "AvgPool2d wants images (channels, height, width), found (7)");
        refuses(AvgPool2d::new(3), &[1, 2, 5], "AvgPool2d: the kernel is (3, 3), larger than the image, (1, 2, 5)");
        refuses(AvgPool2d::new(0), &[1, 2, 2], "AvgPool2d: a kernel of (0, 0) covers nothing");
        refuses(AvgPool2d::new(2).stride(0), &[1, 2, 2], "AvgPool2d: a stride of (0, 0) never moves on");
        let text = "AvgPool2d: the padding is (1, 2), more than half of the kernel, (3, 3)";
        refuses(AvgPool2d::new(3).padding((1, 2)), &[1, 9, 9], text);
    }

    #[test]
    fn it_prints_what_was_written() {
        assert_eq!(AvgPool2d::new(2).spec().to_string(), "AvgPool2d kernel_size=2");
        let layer = AvgPool2d::new(3).stride((1, 2)).padding(1);
        assert_eq!(layer.spec().to_string(), "AvgPool2d kernel_size=3 stride=1x2 padding=1");
    }
}
