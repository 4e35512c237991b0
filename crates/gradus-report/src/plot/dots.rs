//! Dots side by side: every round is seen, none covers another as long as there is room.

/// How far each dot moves off its line, so that dots at `xs` stay `2 * radius` apart; at most `most` up or down.
pub(super) fn stack(xs: &[f64], radius: f64, most: f64) -> Vec<f64> {
    let step = 2.0 * radius;
    let levels: Vec<f64> = (0..)
        .map(|k: i32| f64::from((k + 1) / 2) * if k % 2 == 1 { -step } else { step })
        .take_while(|d| d.abs() <= most)
        .take(1000)
        .collect();
    let mut order: Vec<usize> = (0..xs.len()).collect();
    order.sort_by(|a, b| xs[*a].total_cmp(&xs[*b]).then(a.cmp(b)));
    let mut last = vec![f64::NEG_INFINITY; levels.len()];
    let mut offsets = vec![0.0; xs.len()];
    for i in order {
        let free = last.iter().position(|x| xs[i] - x >= step);
        // Where all is full, the place that was taken first is taken again.
        let level = free.or_else(|| (0..last.len()).min_by(|a, b| last[*a].total_cmp(&last[*b]))).unwrap_or(0);
        if let Some(x) = last.get_mut(level) {
            *x = xs[i];
            offsets[i] = levels[level];
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::stack;

    #[test]
    fn dots_do_not_cover_each_other() {
        let xs = [10.0, 10.0, 50.0, 11.0, 10.0];
        let ys = stack(&xs, 2.0, 10.0);
        assert_eq!(ys, [0.0, -4.0, 0.0, -8.0, 4.0]);
        for i in 0..xs.len() {
            for j in 0..i {
                assert!((xs[i] - xs[j]).hypot(ys[i] - ys[j]) >= 4.0);
            }
        }
        assert!(stack(&[1.0; 500], 2.0, 10.0).iter().all(|y| y.abs() <= 10.0));
        assert!(stack(&[], 2.0, 10.0).is_empty());
    }
}
