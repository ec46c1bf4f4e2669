//! What guests say: log lines and standard output, escaped and bounded, as `tracing` events of the target `filter`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write as _;

use super::limits::{LAST_WORDS, LOG_LINE_BYTES, LOG_LINES, OUTPUT_BYTES};

/// `proxy_log_level_t`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// What one instance says, callback by callback.
#[derive(Debug, Default)]
pub(super) struct GuestLog {
    lines: u32,
    /// Bytes of output looked at in this callback.
    output: usize,
    last_words: VecDeque<String>,
    /// Unfinished lines on standard output and standard error.
    partial: [Vec<u8>; 2],
}

/// Whose line it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) filter: &'a str,
    pub(super) request: Option<&'a str>,
}

impl GuestLog {
    /// A new callback begins: a new budget, and nothing to explain yet.
    pub(super) fn begin(&mut self) {
        self.lines = 0;
        self.output = 0;
        self.last_words.clear();
    }
    /// The callback is over: says what was not said.
    pub(super) fn end(&mut self, speaker: Speaker<'_>) {
        for (index, level) in [LogLevel::Info, LogLevel::Error].into_iter().enumerate() {
            if !self.partial[index].is_empty() {
                let line = std::mem::take(&mut self.partial[index]);
                self.line(level, &line, speaker);
            }
        }
        if self.lines > LOG_LINES {
            let Speaker { filter, request } = speaker;
            tracing::warn!(target: "filter", filter, request, dropped = self.lines - LOG_LINES, "Log lines dropped.");
        }
    }
    /// One line.
    pub(super) fn line(&mut self, level: LogLevel, text: &[u8], speaker: Speaker<'_>) {
        let urgent = level >= LogLevel::Error;
        self.lines = self.lines.saturating_add(1);
        let counted = self.lines <= LOG_LINES;
        if !urgent && !counted {
            return;
        }
        let text = printable(text, LOG_LINE_BYTES);
        if urgent && !text.starts_with("note: ") {
            if self.last_words.len() == LAST_WORDS {
                self.last_words.pop_front();
            }
            self.last_words.push_back(text.clone().into_owned());
        }
        if counted {
            emit(level, &text, speaker);
        }
    }
    /// Bytes written to standard output (1) or standard error (2): logged line by line.
    pub(super) fn write(&mut self, error: bool, mut bytes: &[u8], speaker: Speaker<'_>) {
        // Looking for line ends costs time that no deadline sees.
        bytes = &bytes[..bytes.len().min(OUTPUT_BYTES.saturating_sub(self.output))];
        self.output += bytes.len();
        let index = usize::from(error);
        let level = if error { LogLevel::Error } else { LogLevel::Info };
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.partial[index]);
            line.extend_from_slice(&bytes[..end.min(LOG_LINE_BYTES)]);
            bytes = &bytes[end + 1..];
            if !line.is_empty() {
                self.line(level, &line, speaker);
            }
        }
        let room = LOG_LINE_BYTES.saturating_sub(self.partial[index].len());
        self.partial[index].extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
    /// The host has something to say about what the guest does; it counts as a line of the guest's. `false`: say nothing.
    pub(super) fn may_warn(&mut self) -> bool {
        self.lines = self.lines.saturating_add(1);
        self.lines <= LOG_LINES
    }
    /// The last error lines of this callback, finished ones.
    pub(super) fn last_lines(&self) -> impl Iterator<Item = &str> {
        self.last_words.iter().map(String::as_str)
    }
    /// The last error lines of this callback, unfinished ones included.
    pub(super) fn last_words(&self) -> Option<String> {
        let mut words: Vec<Cow<'_, str>> = self.last_words.iter().map(|line| Cow::Borrowed(line.as_str())).collect();
        if !self.partial[1].is_empty() {
            words.push(printable(&self.partial[1], LOG_LINE_BYTES));
        }
        (!words.is_empty()).then(|| words.join(" "))
    }
}

/// Text on one line: control characters are escaped, what is beyond `limit` bytes is cut.
pub(super) fn printable(bytes: &[u8], limit: usize) -> Cow<'_, str> {
    let cut = bytes.len() > limit;
    // Nearly every line is plain text, which a loop over bytes tells fastest.
    let plain = !cut && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    if let (true, Ok(text)) = (plain, std::str::from_utf8(bytes)) {
        return text.into();
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]);
    if !cut && !text.contains(char::is_control) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    if cut {
        // Writing to a String cannot fail.
        write!(out, "… ({} bytes)", bytes.len()).ok();
    }
    Cow::Owned(out)
}

fn emit(level: LogLevel, text: &str, Speaker { filter, request }: Speaker<'_>) {
    match level {
        LogLevel::Trace => tracing::trace!(target: "filter", filter, request, "{text}"),
        LogLevel::Debug => tracing::debug!(target: "filter", filter, request, "{text}"),
        LogLevel::Info => tracing::info!(target: "filter", filter, request, "{text}"),
        LogLevel::Warn => tracing::warn!(target: "filter", filter, request, "{text}"),
        LogLevel::Error => tracing::error!(target: "filter", filter, request, "{text}"),
        LogLevel::Critical => tracing::error!(target: "filter", filter, request, critical = true, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEAKER: Speaker<'_> = Speaker { filter: "test", request: None };

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(printable(b"a\nb\x1b[31m\0", 99), "a\\nb\\u{1b}[31m\\u{0}");
        assert_eq!(printable("grün".as_bytes(), 99), "grün");
        assert_eq!(printable(b"abcdef", 3), "abc… (6 bytes)");
    }
    #[test]
    fn standard_error_is_put_together_to_lines() {
        let mut log = GuestLog::default();
        log.write(true, b"panicked at ", SPEAKER);
        log.write(true, b"lib.rs:3\nboom\nnote: run with", SPEAKER);
        assert_eq!(log.last_words().as_deref(), Some("panicked at lib.rs:3 boom note: run with"));
        log.begin();
        log.end(SPEAKER);
        assert_eq!(log.last_words(), None, "a note explains nothing");
    }
    #[test]
    fn the_last_error_lines_are_kept_however_many_there_are() {
        let mut log = GuestLog::default();
        for index in 0..LOG_LINES + 10 {
            log.line(LogLevel::Error, index.to_string().as_bytes(), SPEAKER);
        }
        assert_eq!(log.last_words().as_deref(), Some("106 107 108 109"));
    }
}
