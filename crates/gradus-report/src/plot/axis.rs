//! From numbers to places: scales, their ticks, and numbers as they are written.

/// The largest number that is drawn; sums of two still fit into an f64.
const LARGEST: f64 = 1e300;

/// A number that can be drawn: finite, and held within what differences of it can hold.
pub(super) fn drawable(v: f64) -> Option<f64> {
    v.is_finite().then(|| v.clamp(-LARGEST, LARGEST))
}

/// Where numbers lie along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    /// Where `from` and `to` lie.
    start: f64,
    end: f64,
    log: bool,
}

/// A number that is written at the axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub value: f64,
    pub label: String,
}

impl Scale {
    /// An axis that holds all of `values` (and zero to one, where there is none), with a little room at both ends.
    pub(super) fn over(values: impl IntoIterator<Item = f64>, room: f64, start: f64, end: f64) -> Scale {
        let (from, to) = range(values.into_iter().filter_map(drawable)).unwrap_or((0.0, 1.0));
        let half = (to - from) / 2.0;
        // A range that vanishes beside its numbers is none.
        let pad = if half > 1e-12 * from.abs().max(to.abs()) && half > 1e-290 {
            2.0 * half * room
        } else {
            (from.abs() * 0.05).max(if from == 0.0 { 1.0 } else { 1e-280 })
        };
        Scale { from: from - pad, to: to + pad, start, end, log: false }
    }

    /// A logarithmic axis over those of `values` that have a logarithm.
    pub(super) fn log_over(values: impl IntoIterator<Item = f64>, start: f64, end: f64) -> Scale {
        let logs = values.into_iter().filter_map(drawable).filter(|v| *v > 0.0).map(libm::log10);
        let (from, to) = range(logs).unwrap_or((0.0, 1.0));
        let pad = if to - from > 0.02 { 0.04 * (to - from) } else { 0.1 };
        Scale { from: from - pad, to: to + pad, start, end, log: true }
    }

    /// Where a number lies, if it lies anywhere.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let value = drawable(value)?;
        let value = match self.log {
            true if value <= 0.0 => return None,
            true => libm::log10(value),
            false => value,
        };
        let share = (value / 2.0 - self.from / 2.0) / (self.to / 2.0 - self.from / 2.0);
        Some(self.start + share.clamp(0.0, 1.0) * (self.end - self.start))
    }

    /// Tells whether a number lies between the ends.
    pub(super) fn inside(&self) -> impl Fn(f64) -> bool + use<> {
        let (from, to) = (self.from, self.to);
        move |v| (from..=to).contains(&v)
    }

    /// Where the axis begins and ends, as places.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.start, self.end)
    }

    /// About `n` round numbers on it; whole ones alone, if asked.
    pub(super) fn ticks(&self, n: usize, whole: bool) -> Vec<Tick> {
        let ticks = if self.log { self.log_ticks(n) } else { nice(self.from, self.to, n, whole) };
        ticks.into_iter().filter(|t| self.at(t.value).is_some()).collect()
    }

    fn log_ticks(&self, n: usize) -> Vec<Tick> {
        let (from, to) = (self.from.ceil() as i32, self.to.floor() as i32);
        let decades = to - from + 1;
        if decades < 2 {
            // Less than two powers of ten: round numbers between.
            let (a, b) = (libm::pow(10.0, self.from), libm::pow(10.0, self.to));
            let few: Vec<Tick> = (from - 1..=to)
                .flat_map(|e| [1, 2, 5].map(|m| f64::from(m) * libm::pow(10.0, f64::from(e))))
                .filter(|v| (a..=b).contains(v))
                .map(|value| Tick { value, label: significant(value, 1) })
                .collect();
            return if few.len() >= 3 { few } else { nice(a, b, n, false) };
        }
        let step = (decades as usize).div_ceil(n.max(2) + 2);
        (from..=to)
            .filter(|e| e.rem_euclid(step as i32) == 0)
            .map(|e| Tick { value: libm::pow(10.0, f64::from(e)), label: power(e) })
            .collect()
    }
}

/// The least and the greatest.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |r, v| match r {
        None => Some((v, v)),
        Some((a, b)) => Some((f64::min(a, v), f64::max(b, v))),
    })
}

/// Steps of 1, 2 or 5 times a power of ten; every value is a whole number of steps, so that none gets a tail of digits.
fn nice(from: f64, to: f64, n: usize, whole: bool) -> Vec<Tick> {
    let span = to - from;
    if span <= 0.0 || !span.is_finite() {
        return Vec::new();
    }
    let rough = span / n.max(1) as f64;
    let mut e = libm::floor(libm::log10(rough)) as i32;
    let unit = rough / libm::pow(10.0, f64::from(e));
    let mut m = if unit <= 1.0 {
        1
    } else if unit <= 2.0 {
        2
    } else if unit <= 5.0 {
        5
    } else {
        10
    };
    if m == 10 {
        (m, e) = (1, e + 1);
    }
    if whole && e < 0 {
        (m, e) = (1, 0);
    }
    let step = f64::from(m) * libm::pow(10.0, f64::from(e));
    let (first, last) = ((from / step).ceil(), (to / step).floor());
    if first.abs() > 1e9 || last.abs() > 1e9 || last - first > 1000.0 {
        // A short way far from zero: steps cannot be counted from there.
        return [from, to].map(|value| Tick { value, label: significant(value, 4) }).into();
    }
    (first as i64..=last as i64)
        .map(|k| {
            let value = if e < 0 { (k * m as i64) as f64 / libm::pow(10.0, f64::from(-e)) } else { k as f64 * step };
            // Far from one, a power of ten says it shorter.
            let most = libm::log10(from.abs().max(to.abs()));
            let label =
                if !(-3.0..6.0).contains(&most) { significant(value, 3) } else { fixed(value, (-e).max(0) as usize) };
            Tick { value, label }
        })
        .collect()
}

/// With so many decimals, and a true minus sign.
pub(super) fn fixed(v: f64, decimals: usize) -> String {
    if !v.is_finite() {
        return if v.is_nan() {
            "NaN"
        } else if v > 0.0 {
            "∞"
        } else {
            "−∞"
        }
        .to_string();
    }
    let text = format!("{:.*}", decimals, v.abs());
    let zero = text.bytes().all(|b| b == b'0' || b == b'.');
    if v < 0.0 && !zero { format!("−{text}") } else { text }
}

/// Like [`fixed`], with a sign always.
pub(super) fn signed(v: f64, decimals: usize) -> String {
    let text = fixed(v, decimals);
    let plain = text.starts_with('−') || text.bytes().all(|b| b == b'0' || b == b'.') || !v.is_finite();
    if plain { text } else { format!("+{text}") }
}

/// With so many digits that count, and a power of ten where it is far from one.
pub(super) fn significant(v: f64, digits: usize) -> String {
    if v == 0.0 || !v.is_finite() {
        return fixed(v, 0);
    }
    let text = format!("{:.*e}", digits.saturating_sub(1), v.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let e: i32 = exponent.parse().unwrap_or(0);
    let sign = if v < 0.0 { "−" } else { "" };
    let trim =
        |t: &str| if t.contains('.') { t.trim_end_matches('0').trim_end_matches('.').to_string() } else { t.into() };
    if (-4..6).contains(&e) {
        let decimals = (digits as i32 - 1 - e).max(0) as usize;
        return format!("{sign}{}", trim(&format!("{:.*}", decimals, v.abs())));
    }
    let mantissa = trim(mantissa);
    let power = power(e);
    if mantissa == "1" { format!("{sign}{power}") } else { format!("{sign}{mantissa}·{power}") }
}

/// A power of ten: 0.01, 1, 1000, 10⁻⁷.
fn power(e: i32) -> String {
    match e {
        0..=4 => format!("{}", 10_i64.pow(e as u32)),
        -4..=-1 => format!("0.{}1", "0".repeat((-e - 1) as usize)),
        _ => {
            let raised = |c| match c {
                '-' => '⁻',
                '1' => '¹',
                '2' => '²',
                '3' => '³',
                c => char::from_u32('⁰' as u32 + c as u32 - '0' as u32).unwrap_or(c),
            };
            format!("10{}", e.to_string().chars().map(raised).collect::<String>())
        }
    }
}

/// How many decimals show two digits of numbers of this size.
pub(super) fn decimals(size: f64) -> usize {
    match size.abs() {
        s if !s.is_finite() || s >= 1.0 || s == 0.0 => 1,
        s => (1.0 - libm::floor(libm::log10(s))).clamp(2.0, 8.0) as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(from: f64, to: f64) -> Vec<String> {
        nice(from, to, 5, false).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-0.31, 0.32), ["−0.2", "0.0", "0.2"]);
        assert_eq!(labels(87.0, 98.5), ["90", "95"]);
        assert_eq!(labels(0.0, 125.0), ["0", "50", "100"]);
        assert_eq!(labels(0.0, 3e7), ["0", "10⁷", "2·10⁷", "3·10⁷"]);
        assert!(nice(0.0, 2.2, 5, true).iter().map(|t| &t.label).eq(["0", "1", "2"]));
        assert!(labels(1.0, 1.0).is_empty());
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        assert_eq!((fixed(-1.5, 1), fixed(-0.01, 1), fixed(f64::NAN, 1)), ("−1.5".into(), "0.0".into(), "NaN".into()));
        assert_eq!((signed(1.534, 2), signed(0.0, 2), signed(-2.0, 0)), ("+1.53".into(), "0.00".into(), "−2".into()));
        assert_eq!(significant(0.00123, 2), "0.0012");
        assert_eq!(significant(-1.5e-9, 2), "−1.5·10⁻⁹");
        assert_eq!(power(12), "10¹²");
        assert_eq!((decimals(40.0), decimals(0.4), decimals(0.02)), (1, 2, 3));
    }

    #[test]
    fn no_number_falls_off_an_axis() {
        for values in [vec![], vec![f64::NAN], vec![1e308, -1e308], vec![5.0; 3], vec![1e-320, 0.0], vec![-0.0]] {
            for scale in [Scale::over(values.clone(), 0.05, 10.0, 90.0), Scale::log_over(values.clone(), 10.0, 90.0)] {
                for tick in scale.ticks(5, false) {
                    let at = scale.at(tick.value).unwrap();
                    assert!((10.0..=90.0).contains(&at), "{values:?} {tick:?}");
                }
                for v in &values {
                    assert!(scale.at(*v).is_none_or(|at| (10.0..=90.0).contains(&at)), "{values:?} {v}");
                }
            }
        }
        assert_eq!(Scale::over([1.0, 3.0], 0.0, 10.0, 90.0).at(2.0), Some(50.0));
        assert_eq!(Scale::log_over([0.0, -1.0, 1.0, 100.0], 90.0, 10.0).at(10.0), Some(50.0));
        assert_eq!(Scale::log_over([1.0], 90.0, 10.0).at(0.0), None);
    }

    #[test]
    fn a_logarithmic_axis_has_round_ticks() {
        let labels = |v: &[f64]| {
            Scale::log_over(v.to_vec(), 0.0, 1.0).ticks(5, false).into_iter().map(|t| t.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(&[0.001, 100.0]), ["0.001", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&[0.15, 0.9]), ["0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&[0.9, 9.0]), ["1", "2", "5"]);
        assert!(labels(&[1e-30, 1e30]).len() <= 7);
    }
}
