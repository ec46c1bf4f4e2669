//! Durations as people write them: `250ms`, `30s`, `1m30s`, `12h`, `7d`.

use std::time::Duration;

/// The pattern of the JSON Schema.
pub(crate) const PATTERN: &str = "^([0-9]+(ms|s|m|h|d))+$";

/// Reads one or more numbers with a unit (`ms`, `s`, `m`, `h`, `d`); none when it is something else, or too long for nanoseconds in 64 bits.
#[must_use]
pub const fn parse(text: &str) -> Option<Duration> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return None;
    }
    let mut millis: u64 = 0;
    let mut at = 0;
    while at < bytes.len() {
        let mut number: u64 = 0;
        let digits = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            number = match number.checked_mul(10) {
                Some(tens) => match tens.checked_add((bytes[at] - b'0') as u64) {
                    Some(sum) => sum,
                    None => return None,
                },
                None => return None,
            };
            at += 1;
        }
        if at == digits || at == bytes.len() {
            return None;
        }
        let (unit, length): (u64, usize) = match bytes[at] {
            b'm' if at + 1 < bytes.len() && bytes[at + 1] == b's' => (1, 2),
            b's' => (1000, 1),
            b'm' => (60_000, 1),
            b'h' => (3_600_000, 1),
            b'd' => (86_400_000, 1),
            _ => return None,
        };
        at += length;
        millis = match number.checked_mul(unit) {
            Some(part) => match millis.checked_add(part) {
                Some(sum) if sum <= u64::MAX / 1_000_000 => sum,
                _ => return None,
            },
            None => return None,
        };
    }
    Some(Duration::from_millis(millis))
}

/// The period in `#[every("30s")]`, read when the filter is compiled.
///
/// # Panics
/// When compiling: the text is no duration, or zero.
#[must_use]
#[allow(clippy::panic, reason = "it runs at compile time: a wrong period does not compile")]
pub const fn period(text: &str) -> Duration {
    match parse(text) {
        Some(duration) if !duration.is_zero() => duration,
        _ => panic!("a period is written like \"250ms\", \"30s\" or \"1m30s\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in
            [("250ms", 250), ("30s", 30_000), ("1m30s", 90_000), ("12h", 43_200_000), ("0s", 0), ("1s1ms", 1001)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "1.5s", "-1s", "5x", "99999999999999999999s", "300000000000d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
