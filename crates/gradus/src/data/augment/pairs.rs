//! `RandomSwap` and `RandomPairs`: other pairs of the same digits.
//!
//! Both know the data of `mnist-pairs`: swapped digits have the other answer, and a new pair of two training images has
//! the answer that their digits give. They use nothing that the training pairs do not hold.

use super::super::mnist_pairs::{DIGITS, LARGER, PAIR, larger};
use super::{Sample, Schema, Transform, numbers_of, probability};
use crate::data::{Target, TargetInfo};
use crate::rng::Stream;
use crate::spec::{ArgKind, Def, Spec, optional};
use crate::{Result, fail};

/// Swaps the two images at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomSwap {
    /// The probability of a swap.
    pub p: f64,
}

impl RandomSwap {
    /// The entry in [`super::TRANSFORMS`].
    pub const DEF: Def<dyn Transform> = Def {
        name: "RandomSwap",
        summary: "swaps the two images of a pair, and its answer with them",
        formula: "with probability p: (a, b) becomes (b, a)",
        shapes: "",
        args: &[optional("p", ArgKind::Number, "0.5", "the probability of a swap")],
        make: |a| Ok(Box::new(RandomSwap { p: probability(a, "RandomSwap")? })),
    };
}

impl Transform for RandomSwap {
    fn spec(&self) -> Spec {
        Spec::new("RandomSwap").arg_unless("p", self.p, 0.5)
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        pairs("RandomSwap", schema)
    }

    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream) {
        if draw.uniform() < self.p {
            swap(sample);
        }
    }
}

/// Makes new pairs of the training images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomPairs {
    /// The probability of a new pair.
    pub p: f64,
}

impl RandomPairs {
    /// The entry in [`super::TRANSFORMS`].
    pub const DEF: Def<dyn Transform> = Def {
        name: "RandomPairs",
        summary: "gives one image of a pair another partner among the training images, of another digit",
        formula: "with probability p: a or b stays, the other becomes any training image of another digit; then swapped or not",
        shapes: "",
        args: &[optional("p", ArgKind::Number, "1.0", "the probability of a new pair")],
        make: |a| Ok(Box::new(RandomPairs { p: probability(a, "RandomPairs")? })),
    };
}

impl Transform for RandomPairs {
    fn spec(&self) -> Spec {
        Spec::new("RandomPairs").arg_unless("p", self.p, 1.0)
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        pairs("RandomPairs", schema)
    }

    fn apply(&self, sample: &mut Sample<'_>, draw: &mut Stream) {
        if draw.uniform() >= self.p {
            return;
        }
        let (data, stays) = (sample.data, draw.below(2) as usize);
        let Target::Classes { labels, .. } = &data.targets[DIGITS] else { unreachable!("checked: it has classes") };
        let kept = numbers_of(labels, sample.row)[stays];
        // Data of one digit alone have no other partner: then the pair stays.
        for _ in 0..100 {
            let (row, side) = (draw.below(data.len() as u64) as usize, draw.below(2) as usize);
            let digit = numbers_of(labels, row)[side];
            if digit != kept {
                let images = numbers_of(&data.inputs[PAIR], row);
                let half = images.len() / 2;
                sample.input(PAIR)[(1 - stays) * half..][..half].copy_from_slice(&images[side * half..][..half]);
                let digits = sample.labels(DIGITS);
                digits[1 - stays] = digit;
                sample.labels(LARGER)[0] = larger(if stays == 0 { [kept, digit] } else { [digit, kept] });
                break;
            }
        }
        if draw.below(2) == 1 {
            swap(sample);
        }
    }
}

fn swap(sample: &mut Sample<'_>) {
    let images = sample.input(PAIR);
    let (first, second) = images.split_at_mut(images.len() / 2);
    first.swap_with_slice(second);
    sample.labels(DIGITS).swap(0, 1);
    let answer = &mut sample.labels(LARGER)[0];
    *answer = 1 - *answer;
}

fn pairs(name: &str, schema: &Schema) -> Result<()> {
    let classes = |target: &str, k: Option<usize>, least: usize| {
        matches!(schema.targets.get(target), Some(TargetInfo::Classes { names, per_sample })
            if *per_sample == k && names.len() >= least)
    };
    let images = schema.inputs.get(PAIR).is_some_and(|i| i.shape.first() == Some(&2));
    if !(images && classes(DIGITS, Some(2), 2) && classes(LARGER, None, 2)) {
        fail!(Config, "{name} is for pairs of digits, as `mnist-pairs` draws them; the data are {schema}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed, thirty};
    use super::*;
    use crate::data::Dataset;
    use crate::rng::Seed;
    use ndarray::{Axis, s};

    /// An image as bits, and its digit.
    type Image = (Vec<u32>, u32);

    /// The images of a data set, and the answers.
    fn read(data: &Dataset) -> (Vec<[Image; 2]>, Vec<u32>) {
        let of = |name: &str| match &data.targets[name] {
            Target::Classes { labels, .. } => labels.clone(),
            Target::Values(_) => panic!("classes"),
        };
        let digits = of(DIGITS);
        let image = |n: usize, side: usize| {
            let bits = data.inputs[PAIR].slice(s![n, side, .., ..]).iter().map(|x| x.to_bits()).collect();
            (bits, digits.index_axis(Axis(0), n)[side])
        };
        ((0..data.len()).map(|n| [image(n, 0), image(n, 1)]).collect(), of(LARGER).iter().copied().collect())
    }

    #[test]
    fn a_swap_swaps_everything() {
        let (data, _) = thirty();
        let after = changed(&["RandomSwap p=1"], &data, None, Seed(1).key("swap"));
        let ((old, answers), (new, swapped)) = (read(&data), read(&after));
        for (i, [a, b]) in old.iter().enumerate() {
            assert_eq!((&new[i][0], &new[i][1], swapped[i]), (b, a, 1 - answers[i]));
        }
    }

    #[test]
    fn new_pairs_are_of_training_images_with_the_answer_of_their_digits() {
        let (data, _) = thirty();
        let (old, _) = read(&data);
        let pool: std::collections::HashMap<_, _> = old.iter().flatten().cloned().collect();
        let (mut kept, mut partners) = ([0; 4], std::collections::HashSet::new());
        for epoch in 0..40 {
            let after = changed(&["RandomPairs"], &data, None, Seed(1).key("pairs").at(epoch));
            let (new, answers) = read(&after);
            for (i, ([a, b], answer)) in new.into_iter().zip(answers).enumerate() {
                assert_eq!((pool[&a.0], pool[&b.0]), (a.1, b.1), "an image of the pool, with its digit");
                assert!(a.1 != b.1);
                assert_eq!(answer, u32::from(a.1 > b.1));
                // One of the old pair is still there, on either side, either of the two.
                let places = [(0, &a), (0, &b), (1, &a), (1, &b)];
                let place = places.iter().position(|(side, image)| old[i][*side] == **image).expect("one stays");
                kept[place] += 1;
                partners.insert((a.0, b.0));
            }
        }
        assert!(kept.iter().all(|n| (230..370).contains(n)), "{kept:?}");
        assert!(partners.len() > 800, "{}", partners.len());
    }

    #[test]
    fn data_of_one_digit_keep_their_pairs() {
        let (mut data, _) = thirty();
        for (name, to) in [(DIGITS, 3), (LARGER, 0)] {
            if let Target::Classes { labels, .. } = &mut data.targets[name] {
                labels.fill(to);
            }
        }
        let after = changed(&["RandomPairs"], &data, None, Seed(1).key("pairs"));
        let ((old, _), (new, _)) = (read(&data), read(&after));
        assert!(old.iter().zip(&new).all(|(o, n)| o == n || (o[0] == n[1] && o[1] == n[0])));
    }
}
