//! Test samples as images: some of each class, and those that most arms got wrong.

use gradus::data::{Dataset, Target};
use gradus::error::Result;
use gradus::rng::Seed;
use gradus_record::{Predictions, Samples};

use crate::DataSettings;

/// Samples of each class, while there are few classes.
const PER_CLASS: usize = 6;
/// Samples of all classes.
const OF_CLASSES: usize = 120;
/// Samples that arms got wrong.
const MISSED: usize = 12;
/// The largest image that is kept, in numbers.
const LARGEST: usize = 1 << 16;

/// Samples of the test set that `seed` draws: the first of each class, then the most missed by what arms `said`. `None` where
/// they are no images of classes. The arms' order means nothing.
///
/// # Errors
/// When the data cannot be read.
pub fn samples(data: &DataSettings, seed: Seed, said: &[Predictions]) -> Result<Option<Samples>> {
    let schema = data.schema()?;
    let image = |shape: &[usize]| {
        let plane = matches!(shape, [h, w] | [1..=4, h, w] if *h > 1 && *w > 1);
        plane && shape.iter().product::<usize>() <= LARGEST
    };
    let Some((input, _)) = schema.inputs.first().filter(|(_, info)| schema.inputs.len() == 1 && image(&info.shape))
    else {
        return Ok(None);
    };
    // As they are, not as the network sees them.
    let test = DataSettings { raw: true, ..data.clone() }.load(seed)?.0.test;
    let Some((target, classes, labels)) = labelled(&test) else { return Ok(None) };

    let per_class = (OF_CLASSES / classes.len().max(1)).clamp(1, PER_CLASS);
    let mut ids: Vec<usize> = Vec::new();
    for class in (0..classes.len().min(OF_CLASSES)).map(|c| c as u32) {
        let of_class = labels.iter().enumerate().filter(|(_, label)| **label == class);
        ids.extend(of_class.map(|(i, _)| i).take(per_class));
    }
    let mut misses = vec![0; labels.len()];
    let same = |p: &&gradus_record::Predicted| p.target == target && p.labels == labels;
    for arm in said.iter().filter_map(|p| p.of.values().find(same)) {
        misses.iter_mut().zip(&arm.predicted).zip(&labels).for_each(|((n, p), label)| *n += usize::from(p != label));
    }
    let mut missed: Vec<usize> = (0..labels.len()).filter(|i| misses[*i] > 0).collect();
    missed.sort_by_key(|i| (usize::MAX - misses[*i], *i));
    let missed = missed.into_iter().take(MISSED).filter(|i| !ids.contains(i)).collect::<Vec<_>>();
    ids.extend(missed);

    let pixels = &test.inputs[input];
    let (low, high) = pixels.iter().fold((f32::MAX, f32::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    let factor = if high > low { 255.0 / (f64::from(high) - f64::from(low)) } else { 0.0 };
    let byte = |x: &f32| ((f64::from(*x) - f64::from(low)) * factor).round() as u8;
    let chosen = pixels.select(ndarray::Axis(0), &ids);
    Ok(Some(Samples {
        input: input.clone(),
        shape: pixels.shape()[1..].to_vec(),
        labels: ids.iter().map(|i| labels[*i]).collect(),
        ids: ids.iter().map(|i| *i as u32).collect(),
        target,
        classes,
        pixels: chosen.iter().map(byte).collect(),
    }))
}

/// The first target that is classes: its name as predictions have it, the classes, and the label of each sample.
fn labelled(data: &Dataset) -> Option<(String, Vec<String>, Vec<u32>)> {
    data.targets.iter().find_map(|(name, target)| {
        let Target::Classes { labels, names } = target else { return None };
        let each = labels.len() / data.len();
        let name = if labels.ndim() > 1 { format!("{name}[0]") } else { name.clone() };
        Some((name, names.clone(), labels.iter().step_by(each).copied().collect()))
    })
}

#[cfg(test)]
mod tests {
    use gradus_record::{NO_CLASS, Predicted};

    use super::*;
    use crate::Source;

    #[test]
    fn some_of_each_class_and_the_most_missed() {
        let data = DataSettings { train: Some(5), test: Some(60), ..DataSettings::new(Source::MnistPairs) };
        let plain = samples(&data, Seed(3), &[]).unwrap().unwrap();
        assert_eq!(
            (plain.input.as_str(), plain.shape.as_slice(), plain.target.as_str()),
            ("pair", &[2, 14, 14][..], "larger")
        );
        assert_eq!(plain.labels, [[0; 6], [1; 6]].concat());
        assert!(plain.pixels.contains(&0) && plain.pixels.contains(&255));
        // Arms that miss: all of them the sample 40, two 50, one 45 and one of those that are shown already.
        let test = data.load(Seed(3)).unwrap().0.test;
        let (target, classes, labels) = labelled(&test).unwrap();
        let arm = |wrong: &[usize]| {
            let mut predicted = labels.clone();
            wrong.iter().for_each(|i| predicted[*i] = if *i == 50 { NO_CLASS } else { 1 - labels[*i] });
            let of = Predicted { target: target.clone(), classes: classes.clone(), labels: labels.clone(), predicted };
            Predictions { sample_ids: (0..60).collect(), of: [("target".to_string(), of)].into() }
        };
        let shown = plain.ids[7] as usize;
        let mut arms = vec![arm(&[40, 45, 50]), arm(&[40, 50]), arm(&[shown, 40])];
        let all = samples(&data, Seed(3), &arms).unwrap().unwrap();
        assert_eq!(all.ids, [&plain.ids[..], &[40, 50, 45]].concat());
        arms.reverse();
        assert_eq!(samples(&data, Seed(3), &arms).unwrap().unwrap(), all);
        assert_eq!(all.pixels[..plain.pixels.len()], plain.pixels);
        // One that was tested on other samples says nothing of these.
        arms.push(Predictions { of: arms[0].of.clone(), sample_ids: vec![] });
        arms[3].of["target"].labels[9] ^= 1;
        assert_eq!(samples(&data, Seed(3), &arms).unwrap().unwrap(), all);
        assert_eq!(samples(&DataSettings::new(Source::Disk), Seed(3), &[]).unwrap(), None);
    }
}
