//! Durations as they are written, here and in the configurations of plugins: `250ms`, `5s`, `1m30s`, `12h`, `7d`.

use std::time::Duration;

/// What is expected, for messages.
pub(super) const EXAMPLES: &str = "a duration such as \"250ms\", \"5s\", \"1m\" or \"1h\"";

/// Milliseconds of a day, which is read, but not written: `24h` says it as well.
const DAY: u64 = 86_400_000;

/// Units from the largest, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads one or more whole numbers with a unit; `None` when it is something else or does not fit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (mut millis, mut rest) = (0_u64, text);
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit = if unit == "d" { DAY } else { UNITS.iter().find(|(name, _)| *name == unit)?.1 };
        millis = number.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(millis)?;
        rest = next;
        if rest.is_empty() {
            return Some(Duration::from_millis(millis));
        }
    }
}

/// Writes a duration of whole milliseconds in the largest unit that divides it.
pub(super) fn display(duration: Duration) -> String {
    let millis = duration.as_millis();
    let unit = UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(u128::from(*unit)));
    match unit {
        Some((name, unit)) => format!("{}{name}", millis / u128::from(*unit)),
        None => format!("{millis}ms"),
    }
}
