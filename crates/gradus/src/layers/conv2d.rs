//! `Conv2d`: y = W ⋆ x + b, a kernel that slides over an image (torch's: a cross-correlation).
//!
//! y(o, i, j) = b(o) + Σ W(o, k, u, v)·x(k, i·stride + u − padding, j·stride + v − padding), over the channels k and what
//! of the kernel (u, v) lies inside the image.
//!
//! # Shapes
//! x (B, I, H, W), weight (O, I, kH, kW), bias (O), y (B, O, H′, W′) with H′ = ⌊(H + 2·padding − kH)/stride⌋ + 1 and W′
//! likewise. Kept for the backward pass: x.
//!
//! Backward: dW += x ⋆ dy, db += Σ dy over the batch and the image, dx = Wᵀ ⋆ dy.

use super::{Back, Declare, Layer, Pair};
use crate::error::Result;
use crate::fail;
use crate::init::Fan;
use crate::ops::Window;
use crate::program::{Emit, Value};
use crate::spec::{ArgKind, Def, Spec, optional, required};

/// A convolution, `y = W ⋆ x + b`. Pairs are (down, across).
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Channels of an output image (O).
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel_size: (usize, usize),
    /// Steps between neighbouring outputs.
    pub stride: (usize, usize),
    /// Zeros above and below, left and right of the image.
    pub padding: (usize, usize),
    /// Whether there is a bias b.
    pub bias: bool,
}

impl Conv2d {
    /// The entry in [`super::LAYERS`].
    pub const DEF: Def<dyn Layer> = Def {
        name: "Conv2d",
        summary: "convolution of images",
        formula: "y = W ⋆ x + b;  dW += x ⋆ dy,  db += Σ dy,  dx = Wᵀ ⋆ dy",
        shapes: "(I, H, W) → (O, H′, W′), H′ = ⌊(H + 2·padding − kH)/stride⌋ + 1;  weight (O, I, kH, kW), bias (O)",
        args: &[
            required("out_channels", ArgKind::Count, "channels of an output image (O)"),
            required("kernel_size", ArgKind::Pair, "height and width of the kernel"),
            optional("stride", ArgKind::Pair, "1", "steps between neighbouring outputs, down and across"),
            optional("padding", ArgKind::Pair, "0", "zeros above and below, left and right of the image"),
            optional("bias", ArgKind::Flag, "true", "whether b is added"),
        ],
        make: |a| {
            Ok(Box::new(Conv2d {
                out_channels: a.count("out_channels"),
                kernel_size: a.pair("kernel_size"),
                stride: a.pair("stride"),
                padding: a.pair("padding"),
                bias: a.flag("bias"),
            }))
        },
    };

    /// `out_channels` output channels, stride 1, no padding, with bias.
    pub fn new(out_channels: usize, kernel_size: impl Pair) -> Conv2d {
        Conv2d { out_channels, kernel_size: kernel_size.pair(), stride: (1, 1), padding: (0, 0), bias: true }
    }

    /// With this stride.
    #[must_use]
    pub fn stride(mut self, stride: impl Pair) -> Conv2d {
        self.stride = stride.pair();
        self
    }

    /// With this padding.
    #[must_use]
    pub fn padding(mut self, padding: impl Pair) -> Conv2d {
        self.padding = padding.pair();
        self
    }

    /// With or without bias.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Conv2d {
        self.bias = bias;
        self
    }

    fn window(&self) -> Window {
        Window { kernel: self.kernel_size, stride: self.stride, padding: self.padding }
    }
}

impl Layer for Conv2d {
    fn spec(&self) -> Spec {
        Spec::new("Conv2d")
            .arg("out_channels", self.out_channels)
            .arg("kernel_size", self.kernel_size)
            .arg_unless("stride", self.stride, 1)
            .arg_unless("padding", self.padding, 0)
            .arg_unless("bias", self.bias, true)
    }

    fn declare(&self, x: &[usize], d: &mut Declare) -> Result<Vec<usize>> {
        let (h, w) = self.window().fit("Conv2d", x)?;
        if self.out_channels == 0 {
            fail!(Argument, "Conv2d needs at least one output channel");
        }
        let (channels, (kh, kw)) = (x[0], self.kernel_size);
        let taps = kh.saturating_mul(kw);
        let (fan_in, fan_out) = (channels.saturating_mul(taps), self.out_channels.saturating_mul(taps));
        d.param("weight", &[self.out_channels, channels, kh, kw], Fan::Weight { fan_in, fan_out });
        if self.bias {
            d.param("bias", &[self.out_channels], Fan::Bias { fan_in });
        }
        Ok(vec![self.out_channels, h, w])
    }

    fn emit(&self, e: &mut Emit<'_>, x: Value) -> (Value, Back) {
        let (window, w, b) = (self.window(), e.param("weight"), e.param_opt("bias"));
        let y = e.conv2d(window, x, w, b); // W ⋆ x + b
        let back = move |e: &mut Emit<'_>, dy| {
            e.conv2d_weight_grad(window, w, x, dy); // dW += x ⋆ dy
            if let Some(b) = b {
                e.sum_grad(b, dy); // db += Σ dy
            }
            e.conv2d_input_grad(window, dy, w, x) // Wᵀ ⋆ dy
        };
        (y, Box::new(back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{refuses, run};

    #[test]
    fn a_value_worked_by_hand() {
        // One column of padding to the right and left: the kernel sees 0 1 2 0 over 0 3 4 0.
        let layer = Conv2d::new(1, 2).padding((0, 1));
        let params = [("weight", vec![1.0, 10.0, 100.0, 1000.0]), ("bias", vec![0.5])];
        let r = run(layer, &[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0], &params, &[1.0, 2.0, 3.0]);
        assert_eq!(r.y, [3010.5, 4321.5, 402.5]);
        // dx(0, 0): the right column of the kernel at output 0, its left column at output 1.
        assert_eq!(r.dx, [10.0 + 2.0, 20.0 + 3.0, 1000.0 + 200.0, 2000.0 + 300.0]);
        assert_eq!(r.grads["weight"], [2.0 + 3.0 * 2.0, 1.0 + 2.0 * 2.0, 2.0 * 3.0 + 3.0 * 4.0, 3.0 + 2.0 * 4.0]);
        assert_eq!(r.grads["bias"], [6.0]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        refuses(Conv2d::new(4, 3), &[7], "Conv2d wants images (channels, height, width), found (7)");
        refuses(
            Conv2d::new(4, (3, 5)).padding((0, 1)),
            &[2, 4, 2],
            "Conv2d: the kernel is (3, 5), larger than the image, (2, 4, 2) or (4, 4) with padding",
        );
        refuses(Conv2d::new(4, (0, 1)), &[1, 4, 4], "Conv2d: a kernel of (0, 1) covers nothing");
        refuses(Conv2d::new(4, 3).stride((1, 0)), &[1, 4, 4], "Conv2d: a stride of (1, 0) never moves on");
        refuses(Conv2d::new(0, 3), &[1, 4, 4], "Conv2d needs at least one output channel");
    }

    #[test]
    fn it_prints_what_was_written() {
        assert_eq!(Conv2d::new(16, 3).spec().to_string(), "Conv2d out_channels=16 kernel_size=3");
        let layer = Conv2d::new(2, (3, 2)).stride(2).padding((0, 1)).bias(false);
        let text = "Conv2d out_channels=2 kernel_size=3x2 stride=2 padding=0x1 bias=false";
        assert_eq!(layer.spec().to_string(), text);
    }
}
