//! What a metric's name says: `<train|validation|test> <score> [of <loss>]`.

/// `accuracy` of `test accuracy of aux`.
fn score(metric: &str) -> &str {
    metric.split_whitespace().nth(1).unwrap_or("")
}

/// The unit of its values and their differences: `points` for accuracy and error, nothing else.
pub(crate) fn unit(metric: &str) -> &'static str {
    if matches!(score(metric), "accuracy" | "error") { "points" } else { "" }
}

/// Whether a larger value is a better one.
pub(crate) fn larger_is_better(metric: &str) -> bool {
    matches!(score(metric), "accuracy" | "r2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_decides_and_not_the_loss() {
        assert_eq!(
            [unit("test accuracy"), unit("train error of a"), unit("test loss of error")],
            ["points", "points", ""]
        );
        assert!(
            larger_is_better("test r2 of y") && !larger_is_better("test loss of accuracy") && !larger_is_better("")
        );
    }
}
