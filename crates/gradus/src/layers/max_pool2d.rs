//! `MaxPool2d`: the largest number of each window of an image, channel by channel.
//!
//! # Shapes
//! x (B, C, H, W), y (B, C, H′, W′) with H′ = ⌊(H + 2·padding − kH)/stride⌋ + 1 and W′ likewise. Kept for the backward
//! pass: where each y was; the first of equal numbers (rows before columns) counts. Padding never wins.
//!
//! Backward: dx = Σ dy of the windows whose largest number it is.

use super::{Back, Declare, Layer, Pair};
use crate::error::Result;
use crate::ops::Window;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional, required};

/// The largest number of each window. Pairs are (down, across).
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool2d {
    /// Height and width of a window.
    pub kernel_size: (usize, usize),
    /// Steps between neighbouring windows.
    pub stride: (usize, usize),
    /// Rows above and below, columns left and right that are not there; at most half a window.
    pub padding: (usize, usize),
}

impl MaxPool2d {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "MaxPool2d",
        summary: "the largest number of each window of an image",
        formula: "y = max x over the window;  dx = Σ dy of the windows it is the first largest of",
        shapes: "(C, H, W) → (C, H′, W′), H′ = ⌊(H + 2·padding − kH)/stride⌋ + 1",
        args: &[
            required("kernel_size", ArgKind::Pair, "height and width of a window"),
            optional("stride", ArgKind::Pair, "", "steps between neighbouring windows; the kernel size when left out"),
            optional(
                "padding",
                ArgKind::Pair,
                "0",
                "rows and columns around the image that never win; at most half a window",
            ),
        ],
        make: |a| {
            let kernel_size = a.pair("kernel_size");
            let stride = if a.has("stride") { a.pair("stride") } else { kernel_size };
            Ok(Box::new(MaxPool2d { kernel_size, stride, padding: a.pair("padding") }))
        },
    };

    /// Windows of this size side by side.
    pub fn new(kernel_size: impl Pair) -> MaxPool2d {
        let kernel_size = kernel_size.pair();
        MaxPool2d { kernel_size, stride: kernel_size, padding: (0, 0) }
    }

    /// With this stride.
    #[must_use]
    pub fn stride(mut self, stride: impl Pair) -> MaxPool2d {
        self.stride = stride.pair();
        self
    }

    /// With this padding.
    #[must_use]
    pub fn padding(mut self, padding: impl Pair) -> MaxPool2d {
        self.padding = padding.pair();
        self
    }

    fn window(&self) -> Window {
        Window { kernel: self.kernel_size, stride: self.stride, padding: self.padding }
    }
}

impl Layer for MaxPool2d {
    fn spec(&self) -> Spec {
        Spec::new("MaxPool2d")
            .arg("kernel_size", self.kernel_size)
            .arg_unless("stride", self.stride, self.kernel_size)
            .arg_unless("padding", self.padding, 0)
    }

    fn declare(&self, x: &[usize], _: &mut Declare) -> Result<Vec<usize>> {
        let (h, w) = self.window().fit_pooling("MaxPool2d", x)?;
        Ok(vec![x[0], h, w])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let window = self.window();
        let (y, at) = e.max_pool2d(window, x);
        (y, Box::new(move |e, dy| e.max_pool2d_grad(window, dy, (y, at), x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{refuses, run};

    #[test]
    fn a_value_worked_by_hand() {
        // Windows over columns 0–1 and 1–2; the first of the two sevens wins, and the middle column counts twice.
        let layer = MaxPool2d::new(2).stride(1);
        let r = run(layer, &[1, 1, 2, 3], &[1.0, 7.0, 3.0, 2.0, 7.0, 4.0], &[], &[10.0, 1.0]);
        assert_eq!((r.y, r.dx), (vec![7.0, 7.0], vec![0.0, 11.0, 0.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn padding_never_wins() {
        let layer = MaxPool2d::new(2).padding(1);
        let r = run(layer, &[1, 1, 2, 2], &[-1.0, -2.0, -3.0, -4.0], &[], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!((r.y, r.dx), (vec![-1.0, -2.0, -3.0, -4.0], vec![1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        refuses(MaxPool2d::new(2), &[7], "MaxPool2d wants images (channels, height, width), found (7)");
        refuses(MaxPool2d::new(3), &[1, 2, 5], "MaxPool2d: the kernel is (3, 3), larger than the image, (1, 2, 5)");
        refuses(MaxPool2d::new(0), &[1, 2, 2], "MaxPool2d: a kernel of (0, 0) covers nothing");
        refuses(MaxPool2d::new(2).stride(0), &[1, 2, 2], "MaxPool2d: a stride of (0, 0) never moves on");
        let text = "MaxPool2d: the padding is (1, 2), more than half of the kernel, (3, 3)";
        refuses(MaxPool2d::new(3).padding((1, 2)), &[1, 9, 9], text);
    }

    #[test]
    fn it_prints_what_was_written() {
        assert_eq!(MaxPool2d::new(2).spec().to_string(), "MaxPool2d kernel_size=2");
        let layer = MaxPool2d::new(3).stride((1, 2)).padding(1);
        assert_eq!(layer.spec().to_string(), "MaxPool2d kernel_size=3 stride=1x2 padding=1");
    }
}
