//! Reads an HTTP/1 connection's raw bytes along with the HTTP library, for what the library repairs or overlooks and other
//! servers read differently: two framings in one head, lines that end in a bare LF, fragments, loose chunk framing (RFC 9112
//! §2.2, §6.3, §7.1). Pure; keeps at most the beginning of one line.

use std::io::BufRead;

use crate::proxy::BadRequest;

/// What is kept of a line that arrives in pieces: enough for any framing field, and for a chunk's size. Of such lines, longer ones
/// are refused, as what was cut off could decide.
const LINE_BYTES: usize = 256;

/// Follows the messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    state: State,
    /// The current line as far as it arrived in earlier pieces; cut at [`LINE_BYTES`].
    line: Vec<u8>,
    /// The last byte of a line that was cut.
    last: u8,
    /// Something was cut off.
    cut: bool,
    /// The request line has a fragment, seen before it was cut.
    fragment: bool,
    /// Heads read to their end.
    heads: u64,
    framing: Framing,
}

/// Where in a message the connection is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    RequestLine,
    Fields,
    /// Bytes of a body with a length.
    Body(u64),
    ChunkSize,
    /// Bytes of a chunk.
    Chunk(u64),
    /// The line ending after a chunk.
    ChunkEnd,
    Trailers,
    /// A rule was broken: the rest is not looked at, as the connection ends.
    Broken,
}

/// Digits of the longest `content-length` that is taken.
const LENGTH_DIGITS: usize = 19;

/// The framing fields of one head.
#[derive(Debug, Default)]
struct Framing {
    lengths: u32,
    encodings: u32,
    length: Option<u64>,
}

/// A rule broken by the connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// In the head of that number, counted from 0.
    Head(u64, BadRequest),
    /// In the body that belongs to the head of that number: what follows cannot be told from the next request.
    Body(u64, BadRequest),
}

impl Watcher {
    /// Follows the next bytes.
    ///
    /// # Errors
    /// The first rule that is broken; later bytes are not looked at.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Broken => return Ok(()),
                State::Body(left) => {
                    if skip(&mut bytes, left) {
                        self.state = State::RequestLine;
                    }
                }
                State::Chunk(left) => {
                    if skip(&mut bytes, left) {
                        self.state = State::ChunkEnd;
                    }
                }
                _ => self.take_line(&mut bytes)?,
            }
        }
        Ok(())
    }
    /// Whether part of a head, and not all of it, has arrived.
    pub(super) fn is_mid_head(&self) -> bool {
        self.state == State::Fields || (self.state == State::RequestLine && !self.line.is_empty())
    }
    /// How many heads have been read, when their bodies are read too and nothing follows.
    pub(super) fn between(&self) -> Option<u64> {
        (self.state == State::RequestLine && self.line.is_empty()).then_some(self.heads)
    }

    /// Takes bytes up to the end of the line, and looks at the line when it is whole.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<(), Broken> {
        let start = *bytes;
        // `skip_until` uses the standard library's fast byte search; it cannot fail on a slice.
        let taken = bytes.skip_until(b'\n').unwrap_or(start.len());
        let Some(piece) = start[..taken].strip_suffix(b"\n") else {
            self.keep(&start[..taken]);
            return Ok(());
        };
        let looked = if self.line.is_empty() {
            (self.cut, self.fragment) = (piece.len() > LINE_BYTES, piece.contains(&b'#'));
            self.whole_line(piece, piece.last().copied())
        } else {
            self.keep(piece);
            let line = std::mem::take(&mut self.line);
            self.whole_line(&line, Some(self.last))
        };
        // What was long or had a fragment was this line.
        (self.cut, self.fragment) = (false, false);
        looked
    }
    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.cut |= piece.len() > room;
        self.fragment |= piece.contains(&b'#');
        self.last = piece.last().copied().unwrap_or(self.last);
    }
    /// `line` is without its LF, and possibly cut; `last` is the byte before the LF.
    fn whole_line(&mut self, line: &[u8], last: Option<u8>) -> Result<(), Broken> {
        if last != Some(b'\r') {
            return Err(self.broken(BadRequest::LineEnding));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let looked = match self.state {
            // Empty lines before a request are allowed (RFC 9112 §2.2).
            State::RequestLine if line.is_empty() => Ok(()),
            State::RequestLine => self.request_line(),
            State::Fields if line.is_empty() => self.end_of_head(),
            State::Fields => self.field(line),
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::ChunkEnd => Err(BadRequest::InvalidEncoding),
            State::Trailers if line.is_empty() => {
                self.state = State::RequestLine;
                Ok(())
            }
            State::Trailers | State::Body(_) | State::Chunk(_) | State::Broken => Ok(()),
        };
        looked.map_err(|rule| self.broken(rule))
    }
    fn broken(&mut self, rule: BadRequest) -> Broken {
        let in_head = matches!(self.state, State::RequestLine | State::Fields);
        self.state = State::Broken;
        if in_head { Broken::Head(self.heads, rule) } else { Broken::Body(self.heads.saturating_sub(1), rule) }
    }

    fn request_line(&mut self) -> Result<(), BadRequest> {
        self.framing = Framing::default();
        self.state = State::Fields;
        if self.fragment { Err(BadRequest::Fragment) } else { Ok(()) }
    }
    fn field(&mut self, line: &[u8]) -> Result<(), BadRequest> {
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return Ok(());
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let framing = name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding");
        if framing && self.cut {
            return Err(BadRequest::InvalidLength);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            self.framing.lengths += 1;
            self.framing.length = Some(decimal(value).ok_or(BadRequest::InvalidLength)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.framing.encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadRequest::InvalidEncoding);
            }
        }
        Ok(())
    }
    fn end_of_head(&mut self) -> Result<(), BadRequest> {
        match self.framing {
            Framing { lengths: 1.., encodings: 1.., .. } => return Err(BadRequest::LengthAndEncoding),
            Framing { lengths: 2.., .. } => return Err(BadRequest::DuplicateLength),
            Framing { encodings: 2.., .. } => return Err(BadRequest::InvalidEncoding),
            Framing { encodings: 1, .. } => self.state = State::ChunkSize,
            Framing { length: Some(length @ 1..), .. } => self.state = State::Body(length),
            Framing { .. } => self.state = State::RequestLine,
        }
        self.heads += 1;
        Ok(())
    }
    fn chunk_size(&mut self, line: &[u8]) -> Result<(), BadRequest> {
        if self.cut {
            return Err(BadRequest::InvalidEncoding);
        }
        let (size, extension) = match line.iter().position(|byte| *byte == b';') {
            Some(at) => (&line[..at], &line[at..]),
            None => (line, &b""[..]),
        };
        // A CR, or any control character, in an extension is a line ending to some.
        if extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(BadRequest::InvalidEncoding);
        }
        self.state = match hexadecimal(size.trim_ascii_end()).ok_or(BadRequest::InvalidEncoding)? {
            0 => State::Trailers,
            size => State::Chunk(size),
        };
        Ok(())
    }
}

/// Skips up to `left` bytes; whether none are left.
fn skip(bytes: &mut &[u8], left: &mut u64) -> bool {
    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *bytes = &bytes[skipped..];
    *left -= skipped as u64;
    *left == 0
}

/// At most as many digits as any length has: a longer number may be one of which the end was cut off.
fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits)
        .ok()
        .filter(|_| digits.len() <= LENGTH_DIGITS)
        .filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    text.parse().ok()
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
