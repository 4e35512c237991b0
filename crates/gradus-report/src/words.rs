//! Numbers and lists as words.

/// A whole number with commas: `1,234,567`.
pub fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(0).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 sample`, `1,000 samples`.
pub fn many(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {what}{s}", count(n as u64))
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: ToString>(items: &[T]) -> String {
    let words: Vec<String> = items.iter().map(T::to_string).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Rounds by number, runs of them shortened: `round 3`, `rounds 0 to 4 and 9`.
pub fn rounds(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *n => *last = *n,
            _ => runs.push((*n, *n)),
        }
    }
    let parts: Vec<String> = runs
        .iter()
        .flat_map(|(a, b)| match b - a {
            0 => vec![a.to_string()],
            1 => vec![a.to_string(), b.to_string()],
            _ => vec![format!("{a} to {b}")],
        })
        .collect();
    format!("round{} {}", if numbers.len() == 1 { "" } else { "s" }, list(&parts))
}

/// The same with a capital letter in front.
pub fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect())
}

/// `p = 0.0123`, `p < 0.0001`.
pub fn p_value(p: f64) -> String {
    if p < 0.0001 { "p < 0.0001".into() } else { format!("p = {p:.4}") }
}

/// A number with so many decimals; without a sign where it rounds to 0. NaN and numbers that would be very long by their own form.
pub fn fixed(x: f64, decimals: usize) -> String {
    if !x.is_finite() || x.abs() >= 1e12 {
        return format!("{x:.3e}");
    }
    let text = format!("{x:.decimals$}");
    if text.bytes().all(|c| matches!(c, b'-' | b'0' | b'.')) { text.trim_start_matches('-').into() } else { text }
}

/// The same with its sign, where it is not 0.
pub fn signed(x: f64, decimals: usize) -> String {
    let text = fixed(x, decimals);
    let zero = text.bytes().all(|c| matches!(c, b'0' | b'.'));
    if x > 0.0 && !zero { format!("+{text}") } else { text }
}

/// Decimals that show two digits of `size`: 2 for 0.14, 0 for 25.
pub fn decimals(size: f64) -> usize {
    if !(size.is_finite() && size > 0.0) {
        return 2;
    }
    (1.0 - size.log10().floor()).clamp(0.0, 9.0) as usize
}

/// How often `a` is `b`, with three digits.
pub fn times(ratio: f64) -> String {
    fixed(ratio, decimals(ratio) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!((count(1_234_567u64).as_str(), count(12u64).as_str()), ("1,234,567", "12"));
        assert_eq!((many(1, "round").as_str(), many(1000, "round").as_str()), ("1 round", "1,000 rounds"));
        assert_eq!([list::<&str>(&[]), list(&["a"]), list(&["a", "b", "c"])], ["", "a", "a, b and c"]);
        assert_eq!(rounds(&[3]), "round 3");
        assert_eq!(rounds(&[0, 1, 2, 5, 6, 9]), "rounds 0 to 2, 5, 6 and 9");
        assert_eq!([p_value(0.01234), p_value(0.00001), p_value(1.0)], ["p = 0.0123", "p < 0.0001", "p = 1.0000"]);
    }

    #[test]
    fn numbers() {
        assert_eq!([fixed(-0.001, 2), fixed(12.345, 1), fixed(f64::NAN, 2)], ["0.00", "12.3", "NaN"]);
        assert_eq!([signed(0.5, 1), signed(-0.5, 1), signed(0.001, 1)], ["+0.5", "-0.5", "0.0"]);
        assert_eq!([decimals(0.14), decimals(25.0), decimals(1.2), decimals(0.0), decimals(3e-5)], [2, 0, 1, 2, 6]);
        assert_eq!([times(1.3217), times(0.52), times(12.34)], ["1.32", "0.520", "12.3"]);
    }
}
