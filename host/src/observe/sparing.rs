//! Lines of the log that clients can cause as many of as they like: some a second, and how many were left out.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Lines a second of one worker: enough to see what happens, too few to fill a disk or to hide what else there is to read.
const LINES: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Counts such lines.
#[derive(Debug)]
pub struct Sparing {
    /// When the current second began.
    since: Cell<Instant>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
}

impl Default for Sparing {
    fn default() -> Self {
        Self { since: Cell::new(Instant::now()), lines: Cell::new(0), left_out: Cell::new(0) }
    }
}

impl Sparing {
    /// Whether a line may be written now: if so, how many were left out since the one before.
    pub fn line(&self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since.get()) >= SECOND {
            self.since.set(now);
            self.lines.set(0);
        }
        if self.lines.get() >= LINES {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_some_lines_and_the_next_one_says_how_many_it_had_not() {
        let (sparing, now) = (Sparing::default(), Instant::now());
        let told: Vec<_> = (0..LINES + 3).map(|_| sparing.line(now)).collect();
        assert_eq!(told.iter().filter(|line| **line == Some(0)).count(), LINES as usize);
        assert_eq!(told[LINES as usize..], [None; 3]);
        assert_eq!((sparing.line(now + SECOND), sparing.line(now + SECOND)), (Some(3), Some(0)));
    }
}
