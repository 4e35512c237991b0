//! The wall clock, for people to read. No result depends on it.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time of day as text, in UTC: `2026-11-21 13:05:59 UTC`.
pub fn now() -> String {
    // A clock before 1970 is wrong anyway.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    text(seconds)
}

/// Seconds since 1970 as text.
fn text(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 1970, by years that begin in March, so that a leap day ends them.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 1 March of the year 0
    let (era, day) = (days / 146_097, days % 146_097); // of 400 years
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March on
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (400 * era + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_worked_by_hand() {
        assert_eq!(text(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(text(951_782_400 + 86_399), "2000-02-29 23:59:59 UTC");
        assert_eq!(text(951_868_800), "2000-03-01 00:00:00 UTC");
        assert_eq!(text(1_795_266_359), "2026-11-21 13:05:59 UTC");
        assert_eq!(text(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = (1970, 1, 1);
        for day in 1..100_000 {
            let (y, m, d) = date(day);
            let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
            let days = [31, 28 + u64::from(leap(last.0)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][last.1 as usize - 1];
            let next = match last {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == days => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((y, m, d), next);
            last = next;
        }
    }
}
