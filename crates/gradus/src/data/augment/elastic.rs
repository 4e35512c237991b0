//! `ElasticTransform`: moves every pixel by a random field that is smooth.
//!
//! out(p) = in(p + alpha·(G ∗ u)(p)), bilinear between pixels, black outside; u is drawn from −1 to 1 for each pixel and each
//! direction, G is a Gaussian of deviation sigma, cut off at 3 sigma; outside the picture u is 0. Source: Simard et al. 2003;
//! torchvision's `ElasticTransform` mirrors u at the border.

use super::affine::{at, framed};
use super::{PER_CHANNEL, Picture, Sample, Schema, Transform, pictures};
use crate::rng::Stream;
use crate::spec::{ArgKind, Def, Spec, optional};
use crate::{Result, fail};

/// Moves every pixel by a smooth random field.
#[derive(Clone, Debug, PartialEq)]
pub struct ElasticTransform {
    /// The size of the moves, in pixels, before the smoothing shrinks them.
    pub alpha: f64,
    /// The deviation of the Gaussian that smoothes them, in pixels.
    pub sigma: f64,
    /// Whether each channel is a picture of its own.
    pub per_channel: bool,
    /// G, from its centre outwards.
    weights: Vec<f32>,
}

impl ElasticTransform {
    /// The entry in [`super::TRANSFORMS`].
    pub const DEF: Def<dyn Transform> = Def {
        name: "ElasticTransform",
        summary: "moves every pixel of a picture by a smooth random field",
        formula: "out(p) = in(p + alpha·(G ∗ u)(p)), bilinear, black outside;  u uniform in ±1, G a Gaussian of deviation sigma",
        shapes: "",
        args: &[
            optional("alpha", ArgKind::Number, "10.0", "size of the moves, in pixels, before they are smoothed"),
            optional("sigma", ArgKind::Number, "3.0", "deviation of the Gaussian, in pixels, up to 100"),
            PER_CHANNEL,
        ],
        make: |a| Ok(Box::new(ElasticTransform::new(a.number("alpha"), a.number("sigma"), a.flag("per_channel"))?)),
    };

    /// With moves of `alpha` pixels, smoothed over `sigma` pixels.
    ///
    /// # Errors
    /// [`Kind::Argument`](crate::error::Kind::Argument) for a negative alpha, or a sigma that is not above 0 and up to 100.
    pub fn new(alpha: f64, sigma: f64, per_channel: bool) -> Result<ElasticTransform> {
        if !(alpha >= 0.0 && alpha.is_finite()) {
            fail!(Argument, "ElasticTransform: `alpha` is not negative, found {alpha}");
        }
        if !(sigma > 0.0 && sigma <= 100.0) {
            fail!(Argument, "ElasticTransform: `sigma` is above 0 and up to 100, found {sigma}");
        }
        let g: Vec<f64> =
            (0..=(3.0 * sigma) as usize).map(|i| libm::exp(-0.5 * (i * i) as f64 / (sigma * sigma))).collect();
        let sum = 2.0 * g.iter().sum::<f64>() - g[0];
        let weights = g.iter().map(|g| (g / sum) as f32).collect();
        Ok(ElasticTransform { alpha, sigma, per_channel, weights })
    }

    /// Smoothes every line of `line` numbers, of which neighbours lie `step` apart. Along columns, a field is one line of
    /// neighbours a row apart.
    fn smooth(&self, field: &[f32], into: &mut [f32], line: usize, step: usize) {
        let add = |out: &mut [f32], x: &[f32], weight: f32| out.iter_mut().zip(x).for_each(|(o, x)| *o += weight * x);
        for (x, out) in field.chunks_exact(line).zip(into.chunks_exact_mut(line)) {
            out.fill(0.0);
            add(out, x, self.weights[0]);
            for (k, weight) in self.weights.iter().enumerate().skip(1).take_while(|(k, _)| k * step < line) {
                let near = line - k * step;
                add(&mut out[k * step..], &x[..near], *weight);
                add(&mut out[..near], &x[k * step..], *weight);
            }
        }
    }
}

impl Transform for ElasticTransform {
    fn spec(&self) -> Spec {
        Spec::new("ElasticTransform")
            .arg_unless("alpha", self.alpha, 10.0)
            .arg_unless("sigma", self.sigma, 3.0)
            .arg_unless("per_channel", self.per_channel, false)
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        pictures("ElasticTransform", schema)
    }

    fn scratch(&self, height: usize, width: usize) -> usize {
        (height + 2) * (width + 2) + 3 * height * width
    }

    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream) {
        sample.pictures(self.per_channel, |picture| {
            let Picture { height, width, pixels, scratch, black } = picture;
            let n = height * width;
            let (fields, source) = scratch.split_at_mut(3 * n);
            let (moves, between) = fields.split_at_mut(2 * n);
            for field in moves.chunks_exact_mut(n) {
                field.iter_mut().for_each(|u| *u = 2.0 * draw.uniform_f32() - 1.0);
                self.smooth(field, between, width, 1);
                self.smooth(between, field, n, width);
            }
            let source = &mut source[..(height + 2) * (width + 2)];
            for plane in pixels.chunks_exact_mut(n) {
                framed(plane, source, width, black);
                for (i, out) in plane.iter_mut().enumerate() {
                    let moved = |i: usize, by: f32| (i + 1) as f64 + self.alpha * f64::from(by);
                    let place = [moved(i % width, moves[i]), moved(i / width, moves[n + i])];
                    *out = at(source, [height, width], place, black);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, pictures_of};
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn smoothing_is_a_convolution_with_a_gaussian() {
        let (h, w) = (5, 7);
        let mut draw = Seed(1).key("field").stream();
        let field: Vec<f32> = (0..h * w).map(|_| draw.normal() as f32).collect();
        let elastic = ElasticTransform::new(1.0, 1.3, false).unwrap();
        let (mut between, mut smooth) = (vec![0.0; h * w], vec![0.0; h * w]);
        elastic.smooth(&field, &mut between, w, 1);
        elastic.smooth(&between, &mut smooth, h * w, w);
        let g = |d: i64| if d.abs() <= 3 { (-0.5 * (d * d) as f64 / (1.3f64 * 1.3)).exp() } else { 0.0 };
        let sum: f64 = (-3..=3).map(g).sum();
        for (i, got) in smooth.iter().enumerate() {
            let (y, x) = ((i / w) as i64, (i % w) as i64);
            let wanted: f64 = field
                .iter()
                .enumerate()
                .map(|(j, u)| g((j / w) as i64 - y) * g((j % w) as i64 - x) * f64::from(*u) / (sum * sum))
                .sum();
            assert!((f64::from(*got) - wanted).abs() <= 1e-6, "{i}: {got} {wanted}");
        }
    }

    #[test]
    fn pixels_move_by_the_field() {
        // In a picture that is a ramp a pixel's change is its move: as far as alpha over the smoothing says, either way.
        let data = pictures_of([300, 1, 31, 31], |[_, _, _, x]| x as f32);
        let after = changed(&["ElasticTransform 30 2"], &data, None, Seed(1).key("ramp"));
        let moves: Vec<f64> = after.inputs["x"].outer_iter().map(|i| f64::from(i[[0, 15, 15]]) - 15.0).collect();
        let mean = moves.iter().sum::<f64>() / 300.0;
        let sd = (moves.iter().map(|m| m * m).sum::<f64>() / 300.0).sqrt();
        // The variance of a sum: 1/3 of a uniform number, times the squares of the weights, 1/(4π σ²) of a Gaussian.
        let wanted = 30.0 * (1.0 / 3.0 / (4.0 * std::f64::consts::PI * 4.0)).sqrt();
        assert!(mean.abs() < 4.0 * wanted / 300f64.sqrt(), "{mean}");
        assert!((0.85..1.15).contains(&(sd / wanted)), "{sd} {wanted}");
        let apart = |i: ndarray::ArrayViewD<'_, f32>| f64::from(i[[0, 15, 16]] - i[[0, 15, 15]] - 1.0).powi(2);
        let apart = (after.inputs["x"].outer_iter().map(apart).sum::<f64>() / 300.0).sqrt();
        assert!(apart < 0.5 * sd, "neighbours move alike: {apart} {sd}");
    }
}
