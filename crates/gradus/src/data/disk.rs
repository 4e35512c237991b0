//! The disk: points of the unit square, inside a circle or not (reports R1 to R3).

use indexmap::IndexMap;
use ndarray::{Array1, Array2};

use super::{Dataset, Split, Target};
use crate::rng::{Key, Seed};
use crate::{Result, fail};

/// How many points, and what "inside" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// Training points.
    pub train: usize,
    /// Test points.
    pub test: usize,
    /// Inside a square instead of the circle: |x − 0.5| < 0.4 and |y − 0.5| < 0.4, 64 % of the area (report R2's labels).
    pub square: bool,
}

/// `n` training and `n` test points, uniform in [0, 1]²: input "points" (N, 2), target "inside" of the classes
/// "outside" and "inside". Inside is what is nearer to (0.5, 0.5) than 1/√(2π), so half of the area.
///
/// # Panics
/// If `n` is 0.
pub fn disk(n: usize, seed: Seed) -> Split {
    disk_with(&DiskOptions { train: n, test: n, square: false }, seed).expect("a disk of no points")
}

impl Default for DiskOptions {
    /// The reports' 1,000 and 1,000 points and their circle.
    fn default() -> Self {
        DiskOptions { train: 1000, test: 1000, square: false }
    }
}

/// [`disk`] with other numbers of points, or with a square in the circle's place.
pub fn disk_with(options: &DiskOptions, seed: Seed) -> Result<Split> {
    let &DiskOptions { train, test, square } = options;
    if train == 0 || test == 0 {
        fail!(Argument, "the disk needs points: train = {train}, test = {test}");
    }
    let inside = if square { in_square } else { in_circle };
    let (source, shape) = if square {
        ("disk, square", "the square |x - 0.5|, |y - 0.5| < 0.4")
    } else {
        ("disk", "the circle of half the area")
    };
    Split::new(
        points(train, inside, seed.key("disk.train"))?,
        None,
        points(test, inside, seed.key("disk.test"))?,
        source,
        Some(format!("points drawn uniformly from the unit square; inside: {shape}")),
    )
}

fn in_circle(x: f64, y: f64) -> bool {
    (x - 0.5).powi(2) + (y - 0.5).powi(2) < 0.5 * std::f64::consts::FRAC_1_PI
}

fn in_square(x: f64, y: f64) -> bool {
    (x - 0.5).abs() < 0.4 && (y - 0.5).abs() < 0.4
}

fn points(n: usize, inside: fn(f64, f64) -> bool, key: Key) -> Result<Dataset> {
    let mut stream = key.stream();
    let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform_f32());
    let labels: Array1<u32> = points.rows().into_iter().map(|p| inside(p[0].into(), p[1].into()).into()).collect();
    let names = ["outside", "inside"].map(String::from).to_vec();
    Dataset::new(
        IndexMap::from([("points".into(), points.into_dyn())]),
        IndexMap::from([("inside".into(), Target::Classes { labels: labels.into_dyn(), names })]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(split: &Split) -> [(&ndarray::ArrayD<f32>, &ndarray::ArrayD<u32>); 2] {
        [&split.train, &split.test].map(|data| {
            let Target::Classes { labels, names } = &data.targets["inside"] else { panic!("classes") };
            assert_eq!(names[..], ["outside", "inside"]);
            (&data.inputs["points"], labels)
        })
    }

    #[test]
    fn labels_are_those_of_the_circle_of_half_the_area() {
        let split = disk(20_000, Seed(7));
        for (points, labels) in parts(&split) {
            assert_eq!(points.shape(), [20_000, 2]);
            assert!(points.iter().all(|x| (0.0..1.0).contains(x)));
            let radius = 1.0 / (2.0 * std::f64::consts::PI).sqrt();
            for (p, label) in points.rows().into_iter().zip(labels) {
                let distance = (f64::from(p[0]) - 0.5).hypot(f64::from(p[1]) - 0.5);
                assert_eq!(*label == 1, distance < radius, "{p}");
            }
            let share = labels.mapv(f64::from).mean().unwrap();
            assert!((share - 0.5).abs() < 5.0 * 0.5 / 20_000f64.sqrt(), "{share} inside");
        }
        assert_ne!(split.train.inputs, split.test.inputs);
    }

    #[test]
    fn the_square_has_64_per_cent_of_the_area() {
        let options = DiskOptions { train: 20_000, test: 10, square: true };
        let split = disk_with(&options, Seed(7)).unwrap();
        let [(_, labels), _] = parts(&split);
        let share = labels.mapv(f64::from).mean().unwrap();
        assert!((share - 0.64).abs() < 5.0 * 0.48 / 20_000f64.sqrt(), "{share} inside");
        assert_eq!(split.train.range(0..5).input("points"), disk(5, Seed(7)).train.all().input("points"));
        assert_eq!(split.test.len(), 10);
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_for_ever() {
        // A Python script that shares no code has the same hash.
        assert_eq!(disk(1000, Seed(7)).info.hash, "85d81b737fdc3c2b");
        assert_ne!(disk(1000, Seed(8)).info.hash, disk(1000, Seed(7)).info.hash);
    }

    #[test]
    fn a_disk_of_no_points_is_refused() {
        let error = disk_with(&DiskOptions { test: 0, ..DiskOptions::default() }, Seed(1)).unwrap_err();
        assert_eq!(error.to_string(), "the disk needs points: train = 1000, test = 0");
    }
}
