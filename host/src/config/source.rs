//! The text of a configuration file, and where in it something stands.

use std::sync::Arc;

/// A range of bytes in a source.
pub(super) type Span = jsonc_parser::common::Range;

/// Most characters of a source line that an [`Excerpt`] shows: a minified file is one long line.
const EXCERPT_CHARS: usize = 120;

/// Characters kept before the place that an excerpt points at when its line is too long.
const EXCERPT_LEAD: usize = 40;

/// Bytes between two places at which the characters before are known: a file that is one long line has many places in it.
const BLOCK_BYTES: usize = 1024;

/// A file's text with the starts of its lines.
#[derive(Debug)]
pub(super) struct Source {
    /// The file's name as messages show it.
    pub(super) name: Arc<str>,
    /// The whole text, without a byte order mark.
    pub(super) text: String,
    /// Byte offset of each line's first byte; the first is 0.
    lines: Vec<usize>,
    /// The first byte of a character in each block of [`BLOCK_BYTES`] (or the last before it), and the characters before that.
    blocks: Vec<(usize, usize)>,
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
        let lines = std::iter::once(0).chain(breaks).collect();
        Self { name: name.into(), text: text.to_owned(), lines, blocks: blocks(text) }
    }
    /// Characters before a byte offset, which is where a character begins.
    fn chars_before(&self, offset: usize) -> usize {
        let (start, chars) = self.blocks.get(offset / BLOCK_BYTES).copied().unwrap_or_default();
        chars + self.text.get(start..offset).map_or(0, |text| text.chars().count())
    }
    /// Characters from one byte offset to another.
    fn chars_between(&self, start: usize, end: usize) -> usize {
        self.chars_before(end).saturating_sub(self.chars_before(start))
    }
    /// Line and column of a byte offset; one past the end is the end.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        Position { line, column: self.chars_between(start, offset) + 1 }
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
        let end = start + text.len();
        let (before, length) = (column - 1, self.chars_between(start, end));
        let marked = self.chars_between(start, shown_end);
        let skip = if length > EXCERPT_CHARS { before.saturating_sub(EXCERPT_LEAD) } else { 0 };
        let upto = self.text.get(start..self.text.floor_char_boundary(span.start)).unwrap_or_default();
        let first = if skip == 0 { None } else { upto.char_indices().nth_back(EXCERPT_LEAD - 1) };
        let window = self.text.get(start + first.map_or(0, |(at, _)| at)..end).unwrap_or_default();
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        Excerpt {
            text: window.chars().take(EXCERPT_CHARS).map(printable).collect(),
            indent: before - skip,
            width: marked.saturating_sub(before).clamp(1, (EXCERPT_CHARS + skip).saturating_sub(before).max(1)),
        }
    }
}

/// See [`Source::blocks`].
fn blocks(text: &str) -> Vec<(usize, usize)> {
    let mut blocks = Vec::with_capacity(text.len() / BLOCK_BYTES + 1);
    let (mut start, mut chars) = (0, 0);
    for block in 0..=text.len() / BLOCK_BYTES {
        let next = text.floor_char_boundary(block * BLOCK_BYTES);
        chars += text[start..next].chars().count();
        start = next;
        blocks.push((start, chars));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_long_line_are_those_that_counting_its_characters_gives() {
        let line: String = (0..3000).map(|n| if n % 3 == 0 { 'é' } else { 'a' }).collect();
        let text = format!("first\n{line}€\nlast");
        let source = Source::new("a", &text);
        for (offset, _) in text.char_indices() {
            let (line, column) =
                (text[..offset].matches('\n').count(), text[..offset].chars().rev().take_while(|c| *c != '\n').count());
            assert_eq!(source.position(offset), Position { line: line + 1, column: column + 1 });
            let excerpt = source.excerpt(Span::new(offset, offset + 1));
            let shown: String = text
                .lines()
                .nth(line)
                .unwrap_or("")
                .chars()
                .skip(column - excerpt.indent)
                .take(EXCERPT_CHARS)
                .collect();
            assert_eq!((excerpt.text, excerpt.width), (shown, 1), "at {offset}");
        }
    }
}
