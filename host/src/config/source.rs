//! The text of a configuration file, and where in it something stands.

use std::sync::Arc;

/// A range of bytes in a source.
pub(super) type Span = jsonc_parser::common::Range;

/// Most characters of a source line that an [`Excerpt`] shows: a minified file is one long line.
const EXCERPT_CHARS: usize = 120;

/// Characters kept before the place that an excerpt points at when its line is too long.
const EXCERPT_LEAD: usize = 40;

/// A file's text with the starts of its lines.
#[derive(Debug)]
pub(super) struct Source {
    /// The file's name as messages show it.
    pub(super) name: Arc<str>,
    /// The whole text, without a byte order mark.
    pub(super) text: String,
    /// Byte offset of each line's first byte; the first is 0.
    lines: Vec<usize>,
}

/// A place in a source, both numbers from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    /// In characters, as editors count.
    pub(super) column: usize,
}

/// The part of a source line that a message points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// The line, or a window of it, with tabs and control characters as spaces.
    pub(super) text: String,
    /// Characters before the marked place.
    pub(super) indent: usize,
    /// Marked characters, at least one.
    pub(super) width: usize,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Self { name: name.into(), text: text.to_owned(), lines: std::iter::once(0).chain(breaks).collect() }
    }
    /// Line and column of a byte offset; one past the end is the end.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }
    /// The text of a span, as it was written.
    pub(super) fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
    /// The line in which `span` begins, with the part of the span on it marked.
    pub(super) fn excerpt(&self, span: Span) -> Excerpt {
        let Position { line, column } = self.position(span.start);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        let text = self.text[start..end].trim_end_matches(['\r', '\n']);
        let shown_end = self.text.floor_char_boundary(span.end.clamp(span.start, start + text.len()).max(start));
        let marked = self.text.get(start..shown_end).map_or(0, |upto| upto.chars().count());
        let (before, length) = (column - 1, text.chars().count());
        let skip = if length > EXCERPT_CHARS { before.saturating_sub(EXCERPT_LEAD) } else { 0 };
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Excerpt {
            text: text.chars().skip(skip).take(EXCERPT_CHARS).map(printable).collect(),
            indent: before - skip,
            width: marked.saturating_sub(before).clamp(1, (EXCERPT_CHARS + skip).saturating_sub(before).max(1)),
        }
    }
}
