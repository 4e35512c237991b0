//! Which rounds all arms share: values by label become columns, and what is missing is named.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::error::{Error, Kind, Result, refusal};

/// The rounds that every arm has, and those that some lack.
#[derive(Clone, Debug, PartialEq)]
pub struct Aligned<L> {
    /// The labels of the complete rounds, in their own order.
    pub labels: Vec<L>,
    /// For each arm its values in these rounds.
    pub arms: Vec<Vec<f64>>,
    /// The rounds that are left out, in order.
    pub missing: Vec<Missing<L>>,
}

/// A round that some arms lack.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing<L> {
    /// Its label.
    pub label: L,
    /// The arms that lack it, by position.
    pub arms: Vec<usize>,
}

/// Aligns arms, each a list of (label of the round, value) in any order. A diverged trial is left out by the caller.
///
/// # Errors
/// If a label comes twice in one arm or a value is not a usable number; arms are numbered from 1 in the message.
pub fn align<L: Ord + Clone + Display>(arms: &[&[(L, f64)]]) -> Result<Aligned<L>> {
    let mut rounds: BTreeMap<&L, Vec<Option<f64>>> = BTreeMap::new();
    for (i, arm) in arms.iter().enumerate() {
        for (label, value) in *arm {
            if let Some(why) = refusal(*value) {
                let sentence = format!("arm {}, round {label}: the value is {why}", i + 1);
                return Err(Error::new(Kind::Value, sentence));
            }
            let row = rounds.entry(label).or_insert_with(|| vec![None; arms.len()]);
            if row[i].replace(*value).is_some() {
                return Err(Error::new(Kind::Label, format_args!("arm {} has round {label} twice", i + 1)));
            }
        }
    }
    let mut aligned = Aligned { labels: Vec::new(), arms: vec![Vec::new(); arms.len()], missing: Vec::new() };
    for (label, row) in rounds {
        let lacking: Vec<usize> = (0..row.len()).filter(|&i| row[i].is_none()).collect();
        if lacking.is_empty() {
            aligned.labels.push(label.clone());
            for (column, value) in aligned.arms.iter_mut().zip(row) {
                column.extend(value);
            }
        } else {
            aligned.missing.push(Missing { label: label.clone(), arms: lacking });
        }
    }
    Ok(aligned)
}

impl<L> Aligned<L> {
    /// The differences `b` − `a` of two arms, one per round.
    ///
    /// # Panics
    /// If there is no such arm.
    pub fn differences(&self, a: usize, b: usize) -> Vec<f64> {
        self.arms[b].iter().zip(&self.arms[a]).map(|(b, a)| b - a).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_meet_by_label_and_the_rest_is_named() {
        let a = [(2, 20.0), (0, 0.0), (1, 10.0)];
        let b = [(0, 1.0), (3, 31.0), (2, 23.0)];
        let both = align(&[&a, &b]).unwrap();
        assert_eq!(both.labels, [0, 2]);
        assert_eq!(both.differences(0, 1), [1.0, 3.0]);
        assert_eq!(both.missing, [Missing { label: 1, arms: vec![1] }, Missing { label: 3, arms: vec![0] }]);
    }

    #[test]
    fn errors_name_arm_and_round() {
        let good = [("r1", 1.0)];
        let nan = align(&[&good, &[("r1", f64::NAN)]]).unwrap_err();
        assert!(nan.to_string().starts_with("arm 2, round r1: the value is NaN"), "{nan}");
        let twice = align(&[&[("r1", 1.0), ("r1", 2.0)], &good]).unwrap_err();
        assert_eq!((twice.kind(), twice.to_string().as_str()), (Kind::Label, "arm 1 has round r1 twice"));
        assert!(align::<u32>(&[]).unwrap().labels.is_empty());
    }
}
