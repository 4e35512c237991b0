//! Samples to look at: some of each class, and those that most arms missed, with what each arm said.

use gradus_record::{ArmRecord, Error, Filter, NO_CLASS, Parts, Result, RoundRecord, Samples, Store, StudyRecord};
use indexmap::IndexMap;

/// Samples of a class.
const MOST_OF_CLASS: usize = 8;

/// Classes whose samples are shown.
const MOST_CLASSES: usize = 20;

/// Samples that were missed.
const MOST_MISSED: usize = 12;

/// Samples of one round.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    /// The round.
    pub round: usize,
    /// The target that labels them.
    pub target: String,
    /// Some of each class.
    pub groups: Vec<Group>,
    /// Those that most arms missed, worst first.
    pub missed: Vec<Missed>,
}

/// Samples of a class.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The class.
    pub class: String,
    /// The samples.
    pub pictures: Vec<Picture>,
}

/// A sample as one or more images side by side.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Which sample of the round.
    pub id: u32,
    /// What it is, as far as any arm was asked: class by target.
    pub truth: IndexMap<String, String>,
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Whether the images are of red, green and blue bytes; else of grey ones.
    pub colour: bool,
    /// The bytes of each image, row by row.
    pub images: Vec<Vec<u8>>,
}

/// A sample that arms missed.
#[derive(Clone, Debug, Default)]
pub struct Missed {
    /// It.
    pub picture: Picture,
    /// How many arms missed it.
    pub missed: usize,
    /// What each arm said.
    pub said: Vec<Said>,
}

/// What an arm said of a sample.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The arm.
    pub arm: String,
    /// The class it said, or that its output was no number.
    pub class: String,
    /// Whether that is right.
    pub right: bool,
    /// What it said of other targets: class by target.
    pub others: IndexMap<String, String>,
}

/// The gallery of a round whose samples were kept; `None` where they are no images.
pub(super) fn read(
    store: &Store,
    study: &StudyRecord,
    arms: &[ArmRecord],
    round: &RoundRecord,
) -> Result<Option<Gallery>> {
    let Some(samples) = &round.samples else { return Ok(None) };
    let Some(mut pictures) = pictures(samples) else { return Ok(None) };
    // The compared metric speaks of one loss, or of the first.
    let of = study.compare.metric.split_once(" of ").map(|(_, loss)| loss);
    let mut said: Vec<Vec<Said>> = vec![Vec::new(); pictures.len()];
    let keys = Some(arms.iter().map(|a| a.key.clone()).collect());
    let filter = Filter { keys, rounds: Some(round.round..=round.round), removed: false };
    let parts = Parts { predictions: true, ..Parts::default() };
    store.each_trial(&filter, parts, |trial| {
        let Some(predictions) = &trial.predictions else { return Ok::<_, Error>(()) };
        let place: IndexMap<u32, usize> = predictions.sample_ids.iter().copied().zip(0..).collect();
        for (i, picture) in pictures.iter_mut().enumerate() {
            let Some(row) = place.get(&picture.id).copied() else { continue };
            let mut answer = Said { arm: trial.arm.clone(), ..Said::default() };
            for (n, (loss, p)) in predictions.of.iter().enumerate() {
                let class = |c: u32| match p.classes.get(c as usize) {
                    Some(name) => name.clone(),
                    None if c == NO_CLASS => "no number".to_string(),
                    None => c.to_string(),
                };
                picture.truth.insert(p.target.clone(), class(p.labels[row]));
                if p.target == samples.target && of.map_or(n == 0 || answer.class.is_empty(), |of| of == loss) {
                    answer.class = class(p.predicted[row]);
                    answer.right = p.predicted[row] == p.labels[row];
                } else {
                    answer.others.insert(loss.clone(), class(p.predicted[row]));
                }
            }
            if !answer.class.is_empty() {
                said[i].push(answer);
            }
        }
        Ok(())
    })?;
    let mut groups: Vec<Group> = Vec::new();
    // The samples of each class come first, class by class; those that were missed follow.
    let order: Vec<(u32, u32)> = samples.labels.iter().copied().zip(samples.ids.iter().copied()).collect();
    let first = 1 + order.windows(2).take_while(|w| w[0] < w[1]).count();
    for (picture, label) in pictures.iter().zip(&samples.labels).take(first) {
        let class = samples.classes.get(*label as usize).cloned().unwrap_or_else(|| label.to_string());
        let at = groups.iter().position(|g| g.class == class).unwrap_or_else(|| {
            groups.push(Group { class, pictures: Vec::new() });
            groups.len() - 1
        });
        if groups[at].pictures.len() < MOST_OF_CLASS {
            groups[at].pictures.push(picture.clone());
        }
    }
    // A missed sample that happens to continue the last class is none of its few.
    if let Some((last, others)) = groups.split_last_mut() {
        last.pictures.truncate(others.iter().map(|g| g.pictures.len()).max().unwrap_or(MOST_OF_CLASS));
    }
    groups.sort_by_key(|g| samples.classes.iter().position(|c| *c == g.class));
    groups.truncate(MOST_CLASSES);
    let mut missed: Vec<Missed> = pictures
        .into_iter()
        .zip(said)
        .map(|(picture, said)| Missed { picture, missed: said.iter().filter(|s| !s.right).count(), said })
        .filter(|m| m.missed > 0)
        .collect();
    missed.sort_by_key(|m| std::cmp::Reverse(m.missed));
    missed.truncate(MOST_MISSED);
    Ok(Some(Gallery { round: round.round, target: samples.target.clone(), groups, missed }))
}

/// Samples as images: (H, W) and (1, H, W) are grey, (3, H, W) has colours, (C, H, W) is C grey images.
fn pictures(samples: &Samples) -> Option<Vec<Picture>> {
    let (channels, height, width) = match samples.shape[..] {
        [h, w] => (1, h, w),
        [c, h, w] => (c, h, w),
        _ => return None,
    };
    let size = height * width;
    if size == 0 || channels == 0 || height.max(width) > 4096 || samples.classes.is_empty() {
        return None;
    }
    let picture = |(id, bytes): (&u32, &[u8])| {
        let planes: Vec<&[u8]> = bytes.chunks_exact(size).collect();
        let colour = channels == 3;
        let images = if colour {
            vec![(0..size).flat_map(|i| [planes[0][i], planes[1][i], planes[2][i]]).collect()]
        } else {
            planes.iter().map(|p| p.to_vec()).collect()
        };
        Picture { id: *id, truth: IndexMap::new(), width, height, colour, images }
    };
    let chunks = samples.pixels.chunks_exact(size * channels);
    Some(samples.ids.iter().zip(chunks).map(picture).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(shape: &[usize], n: u32) -> Samples {
        let size: usize = shape.iter().product();
        Samples {
            shape: shape.to_vec(),
            ids: (0..n).collect(),
            classes: vec!["no".into(), "yes".into()],
            labels: (0..n).map(|i| i % 2).collect(),
            pixels: (0..size * n as usize).map(|i| i as u8).collect(),
            ..Samples::default()
        }
    }

    #[test]
    fn channels_lie_side_by_side_and_colours_over_each_other() {
        let pair = &pictures(&samples(&[2, 1, 3], 2)).unwrap()[1];
        assert_eq!((pair.width, pair.height, pair.colour), (3, 1, false));
        assert_eq!(pair.images, [[6, 7, 8], [9, 10, 11]]);
        let colours = &pictures(&samples(&[3, 1, 2], 1)).unwrap()[0];
        assert_eq!(colours.images, [[0, 2, 4, 1, 3, 5]]);
        assert!(pictures(&samples(&[4], 1)).is_none());
        assert!(pictures(&samples(&[0, 4], 1)).is_none());
    }
}
