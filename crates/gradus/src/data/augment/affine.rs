//! `RandomAffine`: turns, moves, scales and shears a picture about its centre.
//!
//! out(p) = in(M⁻¹(p − c − t) + c) with M = s·R(θ)·[1, −tan φ; 0, 1], bilinear between pixels, black outside: θ from
//! ±degrees (clockwise), t from ±translate of width and height, s from scale, φ from ±shear. Source: torchvision's
//! `RandomAffine` with `InterpolationMode.BILINEAR`; there, t is rounded to whole pixels.

use super::{PER_CHANNEL, Picture, Sample, Schema, Transform, pictures};
use crate::rng::Stream;
use crate::spec::{ArgKind, Def, Spec, optional};
use crate::{Result, fail};

/// Turns, moves, scales and shears at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomAffine {
    /// The largest angle, in degrees, either way.
    pub degrees: f64,
    /// The largest move either way, as a part of width and height.
    pub translate: f64,
    /// The least and the largest factor of size.
    pub scale: [f64; 2],
    /// The largest shear angle, in degrees, either way.
    pub shear: f64,
    /// Whether each channel is a picture of its own.
    pub per_channel: bool,
}

impl RandomAffine {
    /// The entry in [`super::TRANSFORMS`].
    pub const DEF: Def<dyn Transform> = Def {
        name: "RandomAffine",
        summary: "turns, moves, scales and shears a picture about its centre",
        formula: "out(p) = in(M⁻¹(p − c − t) + c), bilinear, black outside;  M = s·R(θ)·shear(φ)",
        shapes: "",
        args: &[
            optional("degrees", ArgKind::Number, "0.0", "θ is drawn from −degrees to degrees"),
            optional(
                "translate",
                ArgKind::Number,
                "0.0",
                "t is drawn from −translate to translate, times width and height",
            ),
            optional("scale", ArgKind::NumberPair, "[1.0,1.0]", "s is drawn from the first to the second"),
            optional("shear", ArgKind::Number, "0.0", "φ is drawn from −shear to shear, in degrees"),
            PER_CHANNEL,
        ],
        make: |a| {
            let affine = RandomAffine {
                degrees: a.number("degrees"),
                translate: a.number("translate"),
                scale: a.number_pair("scale"),
                shear: a.number("shear"),
                per_channel: a.flag("per_channel"),
            };
            let within = |name: &str, x: f64, most: f64| {
                if (0.0..=most).contains(&x) {
                    return Ok(());
                }
                fail!(Argument, "RandomAffine: `{name}` is from 0 to {most}, found {x}")
            };
            within("degrees", affine.degrees, 180.0)?;
            within("translate", affine.translate, 1.0)?;
            within("shear", affine.shear, 80.0)?;
            let [least, most] = affine.scale;
            if !(least > 0.0 && least <= most) {
                fail!(
                    Argument,
                    "RandomAffine: `scale` is two factors above 0, the smaller first, found {least}, {most}"
                );
            }
            Ok(Box::new(affine))
        },
    };
}

impl Transform for RandomAffine {
    fn spec(&self) -> Spec {
        Spec::new("RandomAffine")
            .arg_unless("degrees", self.degrees, 0.0)
            .arg_unless("translate", self.translate, 0.0)
            .arg_unless("scale", self.scale, [1.0, 1.0])
            .arg_unless("shear", self.shear, 0.0)
            .arg_unless("per_channel", self.per_channel, false)
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        pictures("RandomAffine", schema)
    }

    fn scratch(&self, height: usize, width: usize) -> usize {
        (height + 2) * (width + 2)
    }

    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream) {
        let mut within = |least: f64, most: f64| least + (most - least) * draw.uniform();
        sample.pictures(self.per_channel, |picture| {
            let angle = within(-self.degrees, self.degrees).to_radians();
            let tx = within(-self.translate, self.translate) * picture.width as f64;
            let ty = within(-self.translate, self.translate) * picture.height as f64;
            let scale = within(self.scale[0], self.scale[1]);
            let shear = within(-self.shear, self.shear).to_radians();
            affine(picture, inverse(angle, scale, shear), [tx, ty]);
        });
    }
}

/// M⁻¹, row by row.
fn inverse(angle: f64, scale: f64, shear: f64) -> [f64; 4] {
    let (sin, cos, tan) = (libm::sin(angle), libm::cos(angle), libm::tan(shear));
    [(cos - sin * tan) / scale, (cos * tan + sin) / scale, -sin / scale, cos / scale]
}

/// Draws the picture anew: each pixel from where M⁻¹ finds it.
fn affine(picture: Picture<'_>, inverse: [f64; 4], [tx, ty]: [f64; 2]) {
    let Picture { height, width, pixels, scratch, black } = picture;
    let (cx, cy) = ((width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0);
    let [a, b, c, d] = inverse;
    // Where (0, 0) comes from; then a step to the right adds (a, c), one down (b, d). A frame of black one pixel wide
    // stands around the source, so positions are one larger.
    let x0 = 1.0 + cx - a * (cx + tx) - b * (cy + ty);
    let y0 = 1.0 + cy - c * (cx + tx) - d * (cy + ty);
    let row = width + 2;
    for plane in pixels.chunks_exact_mut(height * width) {
        let source = &mut scratch[..(height + 2) * row];
        framed(plane, source, width, black);
        for (y, line) in plane.chunks_exact_mut(width).enumerate() {
            for (x, out) in line.iter_mut().enumerate() {
                let (x, y) = (x as f64, y as f64);
                *out = at(source, [height, width], [x0 + a * x + b * y, y0 + c * x + d * y], black);
            }
        }
    }
}

/// Copies a plane into a frame of black one pixel wide.
pub(super) fn framed(plane: &[f32], into: &mut [f32], width: usize, black: f32) {
    into.fill(black);
    for (line, into) in plane.chunks_exact(width).zip(into.chunks_exact_mut(width + 2).skip(1)) {
        into[1..=width].copy_from_slice(line);
    }
}

/// A framed picture at a position of the frame: bilinear between four pixels, black outside.
pub(super) fn at(source: &[f32], [height, width]: [usize; 2], [x, y]: [f64; 2], black: f32) -> f32 {
    if !(x >= 0.0 && y >= 0.0 && x < (width + 1) as f64 && y < (height + 1) as f64) {
        return black;
    }
    let (i, j) = (x as usize, y as usize);
    let (u, v) = ((x - i as f64) as f32, (y - j as f64) as f32);
    let corner = j * (width + 2) + i;
    let (up, down) = (&source[corner..corner + 2], &source[corner + width + 2..corner + width + 4]);
    let (top, bottom) = (up[0] + u * (up[1] - up[0]), down[0] + u * (down[1] - down[0]));
    top + v * (bottom - top)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws a picture anew by the definition, in f64: every pixel of the source counts as its distance says.
    fn plain(
        source: &[f32],
        [h, w]: [usize; 2],
        angle: f64,
        scale: f64,
        shear: f64,
        [tx, ty]: [f64; 2],
        black: f64,
    ) -> Vec<f64> {
        let (cx, cy) = ((w as f64 - 1.0) / 2.0, (h as f64 - 1.0) / 2.0);
        // M = s·R(θ)·[1, −tan φ; 0, 1], and its inverse by the rule for 2 × 2.
        let (sin, cos, tan) = (angle.sin(), angle.cos(), shear.tan());
        let m = [scale * cos, scale * (-cos * tan - sin), scale * sin, scale * (cos - sin * tan)];
        let det = m[0] * m[3] - m[1] * m[2];
        let mut out = Vec::new();
        for y in 0..h {
            for x in 0..w {
                let (dx, dy) = (x as f64 - cx - tx, y as f64 - cy - ty);
                let (sx, sy) = ((m[3] * dx - m[1] * dy) / det + cx, (m[0] * dy - m[2] * dx) / det + cy);
                let mut value = 0.0;
                for j in -1..=h as i64 {
                    for i in -1..=w as i64 {
                        let weight = (1.0 - (sx - i as f64).abs()).max(0.0) * (1.0 - (sy - j as f64).abs()).max(0.0);
                        let inside = (0..w as i64).contains(&i) && (0..h as i64).contains(&j);
                        let pixel = if inside { f64::from(source[j as usize * w + i as usize]) } else { black };
                        value += weight * (pixel - black);
                    }
                }
                out.push(value + black);
            }
        }
        out
    }

    fn run(
        source: &[f32],
        [height, width]: [usize; 2],
        angle: f64,
        scale: f64,
        shear: f64,
        t: [f64; 2],
        black: f32,
    ) -> Vec<f32> {
        let mut pixels = source.to_vec();
        let mut scratch = vec![f32::NAN; (height + 2) * (width + 2)];
        let picture = Picture { height, width, pixels: &mut pixels, scratch: &mut scratch, black };
        affine(picture, inverse(angle, scale, shear), t);
        pixels
    }

    #[test]
    fn a_quarter_turn_is_known() {
        let picture = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let near = |angle: f64, wanted: [f32; 9]| {
            let turned = run(&picture, [3, 3], angle.to_radians(), 1.0, 0.0, [0.0; 2], 0.0);
            assert!(turned.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-5), "{angle}: {turned:?}");
        };
        near(0.0, picture);
        near(90.0, [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]); // clockwise
        near(180.0, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn a_move_to_the_right_and_down_leaves_black_behind() {
        let moved = run(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], 0.0, 1.0, 0.0, [1.0, 0.0], -1.0);
        assert_eq!(moved, [-1.0, 1.0, 2.0, -1.0, 4.0, 5.0]);
        let moved = run(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], 0.0, 1.0, 0.0, [0.0, 0.5], 0.0);
        assert_eq!(moved, [0.5, 1.0, 1.5, 2.5, 3.5, 4.5]);
        assert_eq!(run(&[1.0; 6], [2, 3], 0.0, 1.0, 0.0, [9.0, 0.0], 7.0), [7.0; 6]);
    }

    #[test]
    fn it_is_its_definition() {
        let mut draw = crate::rng::Seed(1).key("affine").stream();
        for case in 0..200 {
            let size = [1 + draw.below(9) as usize, 1 + draw.below(9) as usize];
            let source: Vec<f32> = (0..size[0] * size[1]).map(|_| draw.normal() as f32).collect();
            let mut within = |least: f64, most: f64| least + (most - least) * draw.uniform();
            let (angle, scale, shear) = (within(-3.2, 3.2), within(0.4, 2.0), within(-1.0, 1.0));
            let (t, black) = ([within(-3.0, 3.0), within(-3.0, 3.0)], within(-2.0, 2.0) as f32);
            let got = run(&source, size, angle, scale, shear, t, black);
            let wanted = plain(&source, size, angle, scale, shear, t, f64::from(black));
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((f64::from(*got) - wanted).abs() <= 1e-5, "case {case}: {got} {wanted}");
            }
        }
    }

    #[test]
    fn draws_reach_their_limits_and_no_further() {
        // A white pixel in a large black picture, moved: its centre of mass is where it went.
        use super::super::tests::{changed, pictures_of};
        let data = pictures_of([400, 1, 21, 21], |[_, _, y, x]| f32::from(u8::from(x == 10 && y == 10)));
        let key = crate::rng::Seed(2).key("limits");
        let mass = |text: &str| -> Vec<(f32, f32)> {
            let after = changed(&[text], &data, None, key);
            let of = |image: ndarray::ArrayViewD<'_, f32>| {
                let along = |i: usize| image.indexed_iter().map(|(at, v)| v * at[i] as f32).sum::<f32>() / image.sum();
                (along(2), along(1))
            };
            after.inputs["x"].outer_iter().map(of).collect()
        };
        let moved = mass("RandomAffine translate=0.2");
        for way in [|m: &(f32, f32)| m.0 - 10.0, |m: &(f32, f32)| m.1 - 10.0] {
            let (low, high) = moved.iter().map(way).fold((0f32, 0f32), |(l, h), m| (l.min(m), h.max(m)));
            assert!((-4.2001..-4.0).contains(&low) && (4.0..4.2001).contains(&high), "{low} {high}");
        }
        assert!(mass("RandomAffine degrees=90 shear=20").iter().all(|m| (m.0 - 10.0).abs() <= 1e-3));
    }
}
