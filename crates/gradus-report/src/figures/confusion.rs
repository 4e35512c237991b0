//! How often each class was taken for which, summed over the rounds of an arm.

use gradus_record::{ArmRecord, NO_CLASS, Predictions};
use indexmap::IndexMap;

use crate::plot::Confusion;

/// More classes are not drawn: nobody could read them.
const MOST_CLASSES: usize = 30;

/// The confusions of an arm, one for each output that says a class.
#[derive(Clone, Debug, Default)]
pub struct ArmConfusions {
    /// The arm.
    pub arm: String,
    /// By the loss that judges the output.
    pub of: IndexMap<String, Confusion>,
}

impl ArmConfusions {
    pub(super) fn of(arm: &ArmRecord) -> ArmConfusions {
        ArmConfusions { arm: arm.name.clone(), of: IndexMap::new() }
    }

    /// The classes of its first output.
    pub(super) fn classes(&self) -> &[String] {
        self.of.first().map_or(&[], |(_, c)| &c.classes)
    }

    /// Adds the predictions of a round.
    pub(super) fn add(&mut self, predictions: &Predictions) {
        for (loss, p) in predictions.of.iter().filter(|(_, p)| (2..=MOST_CLASSES).contains(&p.classes.len())) {
            let n = p.classes.len();
            let confusion = self.of.entry(loss.clone()).or_insert_with(|| Confusion {
                title: format!("{}, {loss}: {}", self.arm, p.target),
                classes: p.classes.clone(),
                counts: vec![vec![0; n]; n],
            });
            for (label, predicted) in p.labels.iter().zip(&p.predicted) {
                let Some(row) = confusion.counts.get_mut(*label as usize) else { continue };
                let column = if *predicted == NO_CLASS { n } else { *predicted as usize };
                if column == n {
                    row.resize(n + 1, 0);
                }
                if let Some(count) = row.get_mut(column) {
                    *count += 1;
                }
            }
            let columns = confusion.counts.iter().map(Vec::len).max().unwrap_or(n);
            confusion.counts.iter_mut().for_each(|row| row.resize(columns, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use gradus_record::Predicted;

    use super::*;

    #[test]
    fn rounds_are_summed() {
        let round = |labels: &[u32], predicted: &[u32]| Predictions {
            sample_ids: (0..labels.len() as u32).collect(),
            of: [(
                "target".to_string(),
                Predicted {
                    target: "larger".into(),
                    classes: vec!["no".into(), "yes".into()],
                    labels: labels.to_vec(),
                    predicted: predicted.to_vec(),
                },
            )]
            .into(),
        };
        let mut all = ArmConfusions::of(&ArmRecord { name: "a".into(), ..ArmRecord::default() });
        all.add(&round(&[0, 0, 1], &[0, 1, 1]));
        assert_eq!(all.of["target"].counts, [[1, 1], [0, 1]]);
        all.add(&round(&[1, 9, 1], &[NO_CLASS, 0, 7])); // a class that is none, and labels out of range
        assert_eq!(all.of["target"].counts, [[1, 1, 0], [0, 1, 1]]);
        assert_eq!(all.of["target"].title, "a, target: larger");
    }
}
