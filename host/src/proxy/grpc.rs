//! How long gRPC clients wait (`grpc-timeout`): read from heads, and written with what is left of it.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::arrival::Arrival;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Most digits of a timeout (gRPC over HTTP/2, "TimeoutValue").
const DIGITS: usize = 8;

/// How long the client waits, if it says so.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(GRPC_TIMEOUT)?.as_bytes())
}

impl Arrival {
    /// Tells the upstream how long the client still waits; filters may have told it less.
    pub(super) fn hand_on_deadline(&self, headers: &mut HeaderMap, deadline: Option<Instant>) {
        if self.grpc_timeout.is_none() {
            return;
        }
        if let (Some(deadline), Some(told)) = (deadline, timeout(headers)) {
            let left = deadline.saturating_duration_since(Instant::now());
            headers.insert(GRPC_TIMEOUT, write(left.min(told)));
        }
    }
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// In the finest unit whose digits suffice, rounded down: an upstream must not take longer than the client waits.
fn write(left: Duration) -> HeaderValue {
    let most = 10u128.pow(8) - 1;
    let seconds = u128::from(left.as_secs());
    let units = [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm'), (seconds, 'S')];
    let rough = [(seconds / 60, 'M'), (seconds / 3600, 'H')];
    let fitting = units.into_iter().chain(rough).find(|(count, _)| *count <= most);
    let (count, unit) = fitting.unwrap_or((most, 'H'));
    HeaderValue::try_from(format!("{count}{unit}")).unwrap_or_else(|_| HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit_and_ignored_when_they_are_none() {
        let read = [("1H", 3_600_000), ("2M", 120_000), ("3S", 3000), ("4m", 4), ("5000u", 5), ("6000000n", 6)];
        for (text, millis) in read {
            assert_eq!(parse(text.as_bytes()), Some(Duration::from_millis(millis)), "{text}");
        }
        assert!(parse(b"99999999H").is_some());
        for text in ["", "1", "S", "1s", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1S "] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_left_is_written_in_at_most_eight_digits_and_never_as_more() {
        let lefts = [0, 1, 99_999_999, 100_000_000, 1_234_567_890_123, 99_999_999 * 1_000_000_000];
        for left in
            lefts.map(Duration::from_nanos).into_iter().chain([Duration::from_secs(99_999_999 * 3600), Duration::MAX])
        {
            let written = write(left);
            let read = parse(written.as_bytes()).unwrap();
            assert!(read <= left && written.len() <= 9, "{left:?} as {written:?}");
        }
        assert_eq!(write(Duration::from_millis(99)), "99000000n");
    }
}
