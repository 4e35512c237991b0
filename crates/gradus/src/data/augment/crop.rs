//! `RandomCrop`: pads a picture with black on every side and cuts one of its own size out again: a move by whole pixels.
//!
//! Source: torchvision's `RandomCrop(size, padding)` with the picture's own size.

use super::{PER_CHANNEL, Picture, Sample, Schema, Transform, pictures};
use crate::Result;
use crate::rng::Stream;
use crate::spec::{ArgKind, Def, Spec, required};

/// Moves by whole pixels at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomCrop {
    /// The largest move, in pixels, in each direction.
    pub padding: usize,
    /// Whether each channel is a picture of its own.
    pub per_channel: bool,
}

impl RandomCrop {
    /// The entry in [`super::TRANSFORMS`].
    pub const DEF: Def<dyn Transform> = Def {
        name: "RandomCrop",
        summary: "pads a picture and cuts one of its size out again: a move by whole pixels",
        formula: "out(p) = in(p + t), black outside;  t = −padding … padding pixels, each way",
        shapes: "",
        args: &[required("padding", ArgKind::Natural, "the largest move, in pixels"), PER_CHANNEL],
        make: |a| Ok(Box::new(RandomCrop { padding: a.count("padding"), per_channel: a.flag("per_channel") })),
    };
}

impl Transform for RandomCrop {
    fn spec(&self) -> Spec {
        Spec::new("RandomCrop").arg("padding", self.padding).arg_unless("per_channel", self.per_channel, false)
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        pictures("RandomCrop", schema)
    }

    fn scratch(&self, height: usize, width: usize) -> usize {
        height * width
    }

    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream) {
        sample.pictures(self.per_channel, |picture| {
            let mut step = || draw.below(2 * self.padding as u64 + 1) as i64 - self.padding as i64;
            let (right, down) = (step(), step());
            shift(picture, right, down);
        });
    }
}

/// out(x, y) = in(x + right, y + down).
fn shift(picture: Picture<'_>, right: i64, down: i64) {
    let Picture { height, width, pixels, scratch, black } = picture;
    for plane in pixels.chunks_exact_mut(height * width) {
        let source = &mut scratch[..height * width];
        source.copy_from_slice(plane);
        let from = |i: usize, step: i64, n: usize| usize::try_from(i as i64 + step).ok().filter(|i| *i < n);
        for (y, line) in plane.chunks_exact_mut(width).enumerate() {
            let y = from(y, down, height);
            for (x, out) in line.iter_mut().enumerate() {
                *out = y.zip(from(x, right, width)).map_or(black, |(y, x)| source[y * width + x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, pictures_of};
    use crate::rng::Seed;
    use std::collections::BTreeSet;

    #[test]
    fn it_moves_by_whole_pixels_each_way_as_often() {
        // Pixel (y, x) is 1 + 10 y + x: what stands in the middle tells the move.
        let data = pictures_of([2000, 1, 7, 7], |[_, _, y, x]| (1 + 10 * y + x) as f32);
        let moved = changed(&["RandomCrop 1"], &data, None, Seed(1).key("crop"));
        let mut seen = std::collections::BTreeMap::new();
        for image in moved.inputs["x"].outer_iter() {
            let middle = image[[0, 3, 3]] as i64;
            let (down, right) = ((middle - 1) / 10 - 3, (middle - 1) % 10 - 3);
            *seen.entry((down, right)).or_insert(0) += 1;
            for ((_, y, x), value) in image.into_dimensionality::<ndarray::Ix3>().unwrap().indexed_iter() {
                let (y, x) = (y as i64 + down, x as i64 + right);
                let inside = (0..7).contains(&y) && (0..7).contains(&x);
                assert_eq!(*value, if inside { (1 + 10 * y + x) as f32 } else { 0.0 });
            }
        }
        let moves: BTreeSet<_> = (-1..=1).flat_map(|y| (-1..=1).map(move |x| (y, x))).collect();
        assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), moves);
        assert!(seen.values().all(|n| (150..300).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_move_out_of_the_picture_leaves_black() {
        let data = pictures_of([200, 1, 2, 3], |_| 1.0);
        let moved = changed(&["RandomCrop 50"], &data, None, Seed(1).key("crop"));
        let gone = moved.inputs["x"].outer_iter().filter(|i| i.iter().all(|x| *x == 0.0)).count();
        assert!(gone > 150, "{gone}");
    }
}
