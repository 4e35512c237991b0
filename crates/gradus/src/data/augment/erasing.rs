//! `RandomErasing`: paints a rectangle of a picture black.
//!
//! Its area is drawn from `scale` (parts of the picture), its height over its width from `ratio`, evenly in the logarithm;
//! what does not fit is drawn again, ten times at most. Source: Zhong et al. 2020; torchvision's `RandomErasing`.

use super::{PER_CHANNEL, Sample, Schema, Transform, pictures, probability};
use crate::rng::Stream;
use crate::spec::{ArgKind, Def, Spec, optional};
use crate::{Result, fail};

/// Paints a rectangle black at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// The probability that a picture gets one.
    pub p: f64,
    /// The least and the largest area, as parts of the picture.
    pub scale: [f64; 2],
    /// The least and the largest height over width.
    pub ratio: [f64; 2],
    /// Whether each channel is a picture of its own.
    pub per_channel: bool,
}

impl RandomErasing {
    /// The entry in [`super::TRANSFORMS`].
    pub const DEF: Def<dyn Transform> = Def {
        name: "RandomErasing",
        summary: "paints a rectangle of a picture black",
        formula: "with probability p: black in h × w pixels somewhere;  h·w = scale·H·W, h/w = ratio",
        shapes: "",
        args: &[
            optional("p", ArgKind::Number, "0.5", "the probability that a picture gets a rectangle"),
            optional(
                "scale",
                ArgKind::NumberPair,
                "[0.02,0.33]",
                "its area, as a part of the picture's, is drawn from these",
            ),
            optional("ratio", ArgKind::NumberPair, "[0.3,3.3]", "its height over its width is drawn from these"),
            PER_CHANNEL,
        ],
        make: |a| {
            let erasing = RandomErasing {
                p: probability(a, "RandomErasing")?,
                scale: a.number_pair("scale"),
                ratio: a.number_pair("ratio"),
                per_channel: a.flag("per_channel"),
            };
            let ([small, large], [flat, steep]) = (erasing.scale, erasing.ratio);
            if !(small > 0.0 && small <= large && large <= 1.0) {
                fail!(
                    Argument,
                    "RandomErasing: `scale` is two parts above 0, up to 1, the smaller first, found {small}, {large}"
                );
            }
            if !(flat > 0.0 && flat <= steep) {
                fail!(
                    Argument,
                    "RandomErasing: `ratio` is two numbers above 0, the smaller first, found {flat}, {steep}"
                );
            }
            Ok(Box::new(erasing))
        },
    };
}

impl Transform for RandomErasing {
    fn spec(&self) -> Spec {
        Spec::new("RandomErasing")
            .arg_unless("p", self.p, 0.5)
            .arg_unless("scale", self.scale, [0.02, 0.33])
            .arg_unless("ratio", self.ratio, [0.3, 3.3])
            .arg_unless("per_channel", self.per_channel, false)
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        pictures("RandomErasing", schema)
    }

    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream) {
        sample.pictures(self.per_channel, |picture| {
            if draw.uniform() >= self.p {
                return;
            }
            let (height, width) = (picture.height, picture.width);
            for _ in 0..10 {
                let part = self.scale[0] + (self.scale[1] - self.scale[0]) * draw.uniform();
                let area = part * (height * width) as f64;
                let [flat, steep] = self.ratio.map(libm::log);
                let ratio = libm::exp(flat + (steep - flat) * draw.uniform());
                let h = libm::rint(libm::sqrt(area * ratio)) as usize;
                let w = libm::rint(libm::sqrt(area / ratio)) as usize;
                if h < height && w < width {
                    let top = draw.below((height - h + 1) as u64) as usize;
                    let left = draw.below((width - w + 1) as u64) as usize;
                    for plane in picture.pixels.chunks_exact_mut(height * width) {
                        for line in plane.chunks_exact_mut(width).skip(top).take(h) {
                            line[left..left + w].fill(picture.black);
                        }
                    }
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, pictures_of};
    use crate::rng::Seed;

    /// The rectangles (top, left, height, width) of erased pixels in white pictures; none where nothing is erased.
    fn rectangles(text: &str) -> Vec<Option<[usize; 4]>> {
        let data = pictures_of([500, 1, 20, 30], |_| 1.0);
        let after = changed(&[text], &data, None, Seed(3).key("erase"));
        let of = |image: ndarray::ArrayViewD<'_, f32>| {
            let erased: Vec<[usize; 2]> =
                image.indexed_iter().filter(|(_, v)| **v == 0.0).map(|(at, _)| [at[1], at[2]]).collect();
            let span = |i: usize| {
                let low = erased.iter().map(|p| p[i]).min()?;
                Some((low, erased.iter().map(|p| p[i]).max()? - low + 1))
            };
            let ((top, h), (left, w)) = (span(0)?, span(1)?);
            assert_eq!(erased.len(), h * w, "a full rectangle");
            Some([top, left, h, w])
        };
        after.inputs["x"].outer_iter().map(of).collect()
    }

    #[test]
    fn rectangles_are_as_large_as_asked_and_everywhere() {
        let all = rectangles("RandomErasing p=1 scale=[0.1,0.2] ratio=[0.5,2]");
        let (mut top, mut bottom, mut tall, mut wide) = (20, 0, 0, 0);
        for [y, x, h, w] in all.into_iter().map(|r| r.expect("p = 1")) {
            let (part, ratio) = ((h * w) as f64 / 600.0, h as f64 / w as f64);
            assert!((0.08..0.23).contains(&part) && (0.42..2.4).contains(&ratio), "{h} × {w}");
            assert!(y + h <= 20 && x + w <= 30);
            (top, bottom) = (top.min(y), bottom.max(y + h));
            (tall, wide) = (tall + usize::from(h > w), wide + usize::from(w > h));
        }
        assert_eq!((top, bottom), (0, 20));
        assert!(tall > 180 && wide > 180, "{tall} {wide}");
    }

    #[test]
    fn p_is_how_often() {
        let erased = rectangles("RandomErasing p=0.3").iter().flatten().count();
        assert!((110..190).contains(&erased), "{erased} of 500");
    }
}
