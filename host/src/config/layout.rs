//! The canonical layout of a configuration file: two spaces, one space where words meet, lines of at most 120 characters where they
//! can be broken.
//!
//! Comments and the order of keys stay, and so does a comma behind the last element where each has a line of its own: with it, a line
//! can be added without changing another, without it the file is what every JSON reader takes. An object or a list stays on one line while it fits and nothing in it begins a line of its own
//! behind an opening bracket; otherwise each of its elements has a line. One empty line between elements stays.

use std::path::Path;

use jsonc_parser::tokens::Token;
use jsonc_parser::{CollectOptions, CommentCollectionStrategy, parse_to_ast};

use super::load::{CONFIG_FILE_BYTES, SYNTAX, read, syntax_problem};
use super::problem::{Problem, Problems};
use super::source::Source;

/// Characters of a line.
const WIDTH: usize = 120;

/// The text of a file in the canonical layout; `None` when it has that already.
///
/// # Errors
/// The file cannot be read, or is not JSON with comments.
pub fn of_file(path: &Path) -> Result<Option<String>, Problems> {
    let name = path.display().to_string();
    let text = read(path, CONFIG_FILE_BYTES).map_err(|message| Problem::of_file(&name, message))?;
    let laid_out = of_text(&name, &text)?;
    Ok((laid_out != text).then_some(laid_out))
}

fn of_text(name: &str, text: &str) -> Result<String, Problems> {
    let source = Source::new(name, Path::new(""), text);
    let pieces = pieces(&source.text).map_err(|error| syntax_problem(&source, &error, 0))?;
    let mut printer = Printer { pieces: &pieces, out: String::with_capacity(text.len()) };
    printer.block(0, pieces.len(), 0);
    printer.out.push('\n');
    Ok(printer.out)
}

/// A token as it is written.
struct Piece<'t> {
    text: &'t str,
    kind: Kind,
    /// Line breaks before it.
    breaks: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    Comma,
    Colon,
    Value,
    LineComment,
    BlockComment,
}

impl Piece<'_> {
    fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::LineComment | Kind::BlockComment)
    }
}

/// The tokens of a text; commas stand right behind what they end.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, jsonc_parser::errors::ParseError> {
    let collect = CollectOptions { comments: CommentCollectionStrategy::AsTokens, tokens: true };
    let tokens = parse_to_ast(text, &collect, &SYNTAX)?.tokens.unwrap_or_default();
    let (mut pieces, mut end) = (Vec::<Piece<'_>>::with_capacity(tokens.len()), 0);
    for token in tokens {
        let gap = text.get(end..token.range.start).unwrap_or_default();
        end = token.range.end;
        let kind = match token.token {
            Token::OpenBrace | Token::OpenBracket => Kind::Open,
            Token::CloseBrace | Token::CloseBracket => Kind::Close,
            Token::Comma => Kind::Comma,
            Token::Colon => Kind::Colon,
            Token::CommentLine(_) => Kind::LineComment,
            Token::CommentBlock(_) => Kind::BlockComment,
            _ => Kind::Value,
        };
        let text = text.get(token.range.start..token.range.end).unwrap_or_default().trim_end();
        let piece = Piece { text, kind, breaks: gap.matches('\n').count() };
        let behind = pieces.iter().rposition(|piece| !piece.is_comment()).map_or(0, |last| last + 1);
        let at = if kind == Kind::Comma { behind } else { pieces.len() };
        pieces.insert(at, piece);
    }
    Ok(pieces)
}

struct Printer<'p> {
    pieces: &'p [Piece<'p>],
    out: String,
}

impl Printer<'_> {
    /// Prints what stands between brackets, each element on a line of its own. The parser bounds the depth of nesting, and so of the
    /// recursion (512).
    fn block(&mut self, from: usize, to: usize, depth: usize) {
        let (mut at, mut begins) = (from, true);
        // A comment at the beginning of a line keeps what follows on it.
        let mut led = false;
        while let Some(piece) = self.pieces.get(at).filter(|_| at < to) {
            let after_line_comment = at > 0 && self.pieces[at - 1].kind == Kind::LineComment;
            let own_line = if piece.is_comment() { piece.breaks > 0 } else { begins && !(led && piece.breaks == 0) };
            if own_line || after_line_comment {
                self.new_line(depth, piece.breaks > 1 && at > from);
            } else if !self.out.is_empty() && !matches!(piece.kind, Kind::Comma | Kind::Colon) {
                self.out.push(' ');
            }
            led = piece.kind == Kind::BlockComment && (own_line || self.out.is_empty());
            begins = piece.kind == Kind::Comma || (begins && piece.is_comment());
            if piece.kind == Kind::Open {
                at = self.group(at, depth);
            } else {
                self.out.push_str(piece.text);
                at += 1;
            }
        }
    }

    /// Prints an object or a list, and gives the place behind it.
    fn group(&mut self, open: usize, depth: usize) -> usize {
        let close = self.close_of(open);
        let flat = self.flat(open, close);
        let column = self.out.len() - self.out.rfind('\n').map_or(0, |at| at + 1);
        match flat.filter(|flat| column + flat.chars().count() < WIDTH) {
            Some(flat) => self.out.push_str(&flat),
            None => {
                self.out.push_str(self.pieces[open].text);
                self.block(open + 1, close, depth + 1);
                self.new_line(depth, false);
                self.out.push_str(self.pieces[close].text);
            }
        }
        close + 1
    }

    fn close_of(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        let closes = self.pieces.iter().enumerate().skip(open).position(|(_, piece)| {
            match piece.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        closes.map_or(self.pieces.len() - 1, |offset| open + offset)
    }

    /// An object or a list on one line, if it may be.
    fn flat(&self, open: usize, close: usize) -> Option<String> {
        let mut line = String::new();
        for at in open..=close {
            let piece = &self.pieces[at];
            let before = at.checked_sub(1).filter(|_| at > open).map(|before| &self.pieces[before]);
            let opens_line =
                before.is_some_and(|it| it.kind == Kind::Open) && piece.breaks > 0 && piece.kind != Kind::Close;
            if opens_line || piece.kind == Kind::LineComment || piece.text.contains('\n') || line.len() > WIDTH * 4 {
                return None;
            }
            let mut rest = self.pieces[at + 1..].iter().filter(|piece| !piece.is_comment());
            if piece.kind == Kind::Comma && rest.next().is_some_and(|next| next.kind == Kind::Close) {
                continue;
            }
            let tight = matches!(piece.kind, Kind::Comma | Kind::Colon) || piece.text == "]";
            let empty = piece.kind == Kind::Close && before.is_some_and(|it| it.kind == Kind::Open);
            if !tight && !empty && before.is_some_and(|it| it.text != "[") {
                line.push(' ');
            }
            line.push_str(piece.text);
        }
        Some(line)
    }

    /// Goes to the next line, after an empty one where there is to be one.
    fn new_line(&mut self, depth: usize, empty: bool) {
        if self.out.is_empty() {
            return;
        }
        self.out.push_str(if empty { "\n\n" } else { "\n" });
        self.out.extend(std::iter::repeat_n("  ", depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(text: &str, expected: &str) {
        let laid_out = of_text("gateway.json", text).unwrap();
        assert_eq!(laid_out, expected);
        assert_eq!(of_text("gateway.json", &laid_out).unwrap(), laid_out, "it stays so");
    }

    #[test]
    fn a_text_is_laid_out_with_its_comments_and_its_order() {
        becomes(
            "// top\r\n{ \"b\": 1,\n\n\n  // why\n    \"a\" : {\"x\":[1,2,],}, /* in */\n/* lead */ \"c\": [ ]\n  ,\"l\": [{\n\"p\":\"\\u00e9\\\"\"} // first\n ,{\"q\":{ }}], }\n// end",
            r#"// top
{
  "b": 1,

  // why
  "a": { "x": [1, 2] }, /* in */
  /* lead */ "c": [],
  "l": [
    {
      "p": "\u00e9\""
    }, // first
    { "q": {} }
  ],
}
// end
"#,
        );
    }

    #[test]
    fn what_is_too_long_for_a_line_is_broken_from_outside() {
        let word = "w".repeat(50);
        becomes(
            &format!(r#"{{"a": {{"b": ["{word}", "{word}"], "c": 1}}}}"#),
            &format!("{{\n  \"a\": {{\n    \"b\": [\"{word}\", \"{word}\"],\n    \"c\": 1\n  }}\n}}\n"),
        );
    }

    #[test]
    fn comments_in_odd_places_stay_comments() {
        becomes(
            "{ // open\n\"a\": // why\n 1, /* x */ \"b\": [1 /* one\n line */, 2], // last\n}",
            "{ // open\n  \"a\": // why\n  1, /* x */\n  \"b\": [\n    1, /* one\n line */\n    2\n  ], // last\n}\n",
        );
        becomes("/* a */ {} // b", "/* a */ {} // b\n");
        becomes("[ // nothing\n]", "[ // nothing\n]\n");
        becomes("\u{feff}7", "7\n");
    }

    #[test]
    fn what_the_gateway_does_not_read_is_not_laid_out() {
        let problems = of_text("gateway.json", "{\n  'a': 1}").unwrap_err();
        assert!(problems.to_string().starts_with("gateway.json:2:3: "), "{problems}");
    }
}
