//! The texts of the files that a configuration is made of, one behind the other, and where in them something stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A range of bytes in a source.
pub(super) type Span = jsonc_parser::common::Range;

/// Most characters of a source line that an [`Excerpt`] shows: a minified file is one long line.
const EXCERPT_CHARS: usize = 120;

/// Characters kept before the place that an excerpt points at when its line is too long.
const EXCERPT_LEAD: usize = 40;

/// Bytes between two places at which the characters before are known: a file that is one long line has many places in it.
const BLOCK_BYTES: usize = 1024;

/// The texts with the starts of their lines. Whatever stands in them has a place of its own, so that one number tells file and line.
#[derive(Debug)]
pub(super) struct Source {
    /// The files in order; the first one includes the others.
    files: Vec<File>,
    /// The texts without byte order marks, each from the start of a line.
    pub(super) text: String,
    /// Byte offset of each line's first byte; the first is 0.
    lines: Vec<usize>,
    /// The first byte of a character in each block of [`BLOCK_BYTES`] (or the last before it), and the characters before that.
    blocks: Vec<(usize, usize)>,
}

/// One file of a source.
#[derive(Debug)]
struct File {
    /// As messages show it.
    name: Arc<str>,
    /// Relative paths in it start here.
    dir: PathBuf,
    /// Byte offset of its text, and of its end.
    start: usize,
    end: usize,
    /// Number of its first line, from 0.
    line: usize,
}

/// A place in a file, both numbers from 1.
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
    /// `name`: as messages show it; relative paths in it start at `dir`.
    pub(super) fn new(name: &str, dir: &Path, text: &str) -> Self {
        let mut source = Self { files: Vec::new(), text: String::new(), lines: Vec::new(), blocks: Vec::new() };
        source.add(name, dir, text);
        source
    }
    /// Another file, behind the others.
    /// Where it begins.
    pub(super) fn add(&mut self, name: &str, dir: &Path, text: &str) -> usize {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if !self.files.is_empty() {
            self.text.push('\n');
        }
        let (start, line) = (self.text.len(), self.lines.len());
        self.text.push_str(text);
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| start + index + 1);
        self.lines.push(start);
        self.lines.extend(breaks);
        self.extend_blocks();
        self.files.push(File { name: name.into(), dir: dir.to_owned(), start, end: self.text.len(), line });
        start
    }
    /// See [`Source::blocks`]. Those that are known stay: the text only grows.
    fn extend_blocks(&mut self) {
        let (mut start, mut chars) = self.blocks.last().copied().unwrap_or_default();
        for block in self.blocks.len()..=self.text.len() / BLOCK_BYTES {
            let next = self.text.floor_char_boundary(block * BLOCK_BYTES);
            chars += self.text[start..next].chars().count();
            start = next;
            self.blocks.push((start, chars));
        }
    }
    /// The name of the first file.
    pub(super) fn name(&self) -> &Arc<str> {
        // There is one since the source was made.
        &self.files[0].name
    }
    /// The texts of all files, each with its offset.
    pub(super) fn texts(&self) -> impl Iterator<Item = (usize, &str)> {
        self.files.iter().map(|file| (file.start, self.text.get(file.start..file.end).unwrap_or_default()))
    }
    fn file(&self, offset: usize) -> &File {
        let after = self.files.partition_point(|file| file.start <= offset);
        &self.files[after.saturating_sub(1)]
    }
    /// The name of the file in which a byte offset is.
    pub(super) fn name_at(&self, offset: usize) -> &Arc<str> {
        &self.file(offset).name
    }
    /// The directory at which relative paths start in the file in which a byte offset is.
    pub(super) fn dir_at(&self, offset: usize) -> &Path {
        &self.file(offset).dir
    }
    /// A place as another one speaks of it: `12:5`, with the file's name in front when it is another file.
    pub(super) fn place_seen_from(&self, offset: usize, from: usize) -> String {
        let Position { line, column } = self.position(offset);
        if self.file(offset).start == self.file(from).start {
            return format!("{line}:{column}");
        }
        format!("{}:{line}:{column}", self.name_at(offset))
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
        let line = self.line_at(offset);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        Position { line: line - self.file(offset).line, column: self.chars_between(start, offset) + 1 }
    }
    /// The line of a byte offset, from 1, counted over all files.
    fn line_at(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }
    /// The text of a span, as it was written.
    pub(super) fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }
    /// The line in which `span` begins, with the part of the span on it marked.
    pub(super) fn excerpt(&self, span: Span) -> Excerpt {
        let Position { column, .. } = self.position(span.start);
        let line = self.line_at(self.text.floor_char_boundary(span.start));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_long_line_are_those_that_counting_its_characters_gives() {
        let line: String = (0..3000).map(|n| if n % 3 == 0 { 'é' } else { 'a' }).collect();
        let text = format!("first\n{line}€\nlast");
        let source = Source::new("a", Path::new(""), &text);
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
