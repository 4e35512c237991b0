//! Rounds that got stuck: two groups that mean ± sd hides.
//!
//! **The rule.** Sort the values and cut them at their widest gap (the first of equals). They are two groups if there are at
//! least ten, and the gap is at least 1.5 times as wide as the whole range of the larger group, and wider than `least`, the
//! difference that matters to the caller. (Of two groups of one size, the wider range counts.) One value alone may be a
//! group: a single stuck start should be seen. The rounds on the worse side of the gap are called stuck.
//!
//! The range of the larger group, rather than the IQR or sd of everything, because with two fifths of the rounds stuck the
//! gap itself is inside the IQR and makes the sd. How often values of *one* group are taken for two, in simulations: normal
//! values 2 % at n = 10, 0.5 % at 12, below 0.1 % from 20 on; exponential ones 17 % at 10, 5 % at 20, 2 % at 30 and
//! Student t with 3 degrees of freedom 8, 4 and 4 %, and those are true outliers. It is a hint to look, not a test.

use crate::error::{Error, Kind, Result, check};

/// How many values it takes to speak of groups.
pub const FEWEST: usize = 10;

/// How many ranges of the larger group the gap must measure.
pub const RATIO: f64 = 1.5;

/// Two groups of rounds with a wide gap between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// The largest value below the gap.
    pub gap_low: f64,
    /// The smallest value above it.
    pub gap_high: f64,
    /// How many values lie below the gap.
    pub below: usize,
    /// How many lie above it.
    pub above: usize,
    /// The positions, in the caller's order, of the values on the worse side.
    pub stuck: Vec<usize>,
}

/// The two groups that `values` fall into, if they do; `least` is a gap that does not matter (0 if every one does).
///
/// # Errors
/// If there are no values, one is not a usable number, or `least` is negative or not finite.
pub fn stuck(values: &[f64], larger_is_better: bool, least: f64) -> Result<Option<Groups>> {
    check("value", values)?;
    if !(0.0..f64::INFINITY).contains(&least) {
        return Err(Error::new(Kind::Argument, format_args!("the least gap is {least}: it must be 0 or more")));
    }
    if values.len() < FEWEST {
        return Ok(None);
    }
    let sorted = crate::describe::sorted(values);
    let mut cut = 1;
    for i in 2..sorted.len() {
        if sorted[i] - sorted[i - 1] > sorted[cut] - sorted[cut - 1] {
            cut = i;
        }
    }
    let (low, high) = sorted.split_at(cut);
    let range = |group: &[f64]| group[group.len() - 1] - group[0];
    let bulk = match low.len().cmp(&high.len()) {
        std::cmp::Ordering::Less => range(high),
        std::cmp::Ordering::Greater => range(low),
        std::cmp::Ordering::Equal => range(low).max(range(high)),
    };
    let (gap_low, gap_high) = (low[low.len() - 1], high[0]);
    let gap = gap_high - gap_low;
    if !(gap >= RATIO * bulk && gap > least) {
        return Ok(None);
    }
    let worse = |x: f64| if larger_is_better { x <= gap_low } else { x >= gap_high };
    let stuck = (0..values.len()).filter(|&i| worse(values[i])).collect();
    Ok(Some(Groups { gap_low, gap_high, below: low.len(), above: high.len(), stuck }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn stuck_starts_are_seen_and_named() {
        let mut values = vec![97.1, 96.8, 97.4, 50.2, 97.0, 96.9, 97.2, 49.8, 97.3, 96.7, 97.0, 97.1];
        let groups = stuck(&values, true, 0.0).unwrap().unwrap();
        assert_eq!((groups.below, groups.above, groups.gap_low, groups.gap_high), (2, 10, 50.2, 96.7));
        assert_eq!(groups.stuck, [3, 7]);
        // As errors, larger is worse.
        values.iter_mut().for_each(|x| *x = 100.0 - *x);
        assert_eq!(stuck(&values, false, 0.0).unwrap().unwrap().stuck, [3, 7]);
    }

    #[test]
    fn four_of_ten_stuck_are_seen_although_the_iqr_spans_the_gap() {
        let values: Vec<f64> = (0..10).map(|i| if i < 4 { 50.0 } else { 97.0 } + f64::from(i) * 0.3).collect();
        assert_eq!(stuck(&values, true, 0.0).unwrap().unwrap().stuck, [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_not_two_groups() {
        assert_eq!(stuck(&[5.0; 30], true, 0.0).unwrap(), None);
        assert_eq!(stuck(&[1.0, 1.0, 1.0, 99.0], true, 0.0).unwrap(), None, "too few");
        let mut one_step = [100.0; 12];
        one_step[3] = 99.9;
        assert!(stuck(&one_step, true, 0.0).unwrap().is_some());
        assert_eq!(stuck(&one_step, true, 0.5).unwrap(), None, "a gap that does not matter");
        assert!(stuck(&one_step, true, f64::NAN).is_err() && stuck(&one_step, true, -1.0).is_err());
    }

    #[test]
    fn normal_values_rarely_look_like_two_groups() {
        let mut stream = Stream::new(3, Purpose::Test);
        for (n, most) in [(10, 0.035), (12, 0.012), (20, 0.003)] {
            let alarms = (0..2000)
                .filter(|_| {
                    let values: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
                    stuck(&values, true, 0.0).unwrap().is_some()
                })
                .count();
            assert!(alarms as f64 / 2000.0 <= most, "{n}: {alarms}");
        }
    }
}
