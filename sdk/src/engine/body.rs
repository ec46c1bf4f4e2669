//! One direction of a stream: where its phase stands, and what the filter did with its body.
//!
//! The host's buffer holds first what the filter has already written, then what it has not read yet:
//! `[parts written … | unread]`. Reading a chunk takes it off the unread end; what is written instead is put into the buffer
//! before the filter lets it go. A chunk that is written back as it was costs no copy.

use std::task::Poll;

use bytes::Bytes;

use crate::error::{Error, Fault, Result};
use crate::extension;
use crate::filter::PhaseFuture;
use crate::host::{Direction, HOST, Host, HostError};
use crate::log;
use crate::reply::Reply;

/// Where a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Over, or never begun: everything passes.
    Passing,
    /// The author's function awaits something.
    Running,
    /// Over; the body is read to its end, and then replaced.
    Replacing,
    /// Over with a reply or a fault: nothing passes.
    Stopped,
}

/// What the future asked for when it was polled last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Nothing of the body: a callout, a timer.
    Other,
    /// The next chunk.
    Chunk,
    /// All of it.
    Whole,
}

/// One direction of a stream.
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each set in one place")]
pub(crate) struct Half {
    direction: Direction,
    /// The module's manifest lists the body callbacks.
    listed: bool,
    pub(super) mode: Mode,
    pub(super) want: Want,
    pub(super) future: Option<PhaseFuture>,
    /// The head has not been let go: it can be changed.
    pub(super) held: bool,
    /// The last callback answered Pause.
    pub(super) paused: bool,
    /// The message has no body.
    pub(super) empty: bool,
    /// The host holds a buffer that can be read and written now.
    pub(super) buffered: bool,
    /// The last byte has arrived.
    pub(super) end: bool,
    /// Bytes at the end of the host's buffer that the filter has not seen.
    unread: usize,
    /// Bytes before those.
    seen: usize,
    /// What is to stand in the place of those.
    parts: Vec<Bytes>,
    /// The chunk read last, if it is all of `seen`.
    taken: Option<Bytes>,
    /// The host's buffer differs from `parts` and what is unread.
    stale: bool,
    /// The whole body, once read.
    whole: Option<Bytes>,
    /// The whole body, as it is to be.
    replacement: Option<Bytes>,
    /// An answer instead of this message.
    pub(super) reply: Option<Reply>,
    /// What the author did wrong, reported when the phase ends.
    pub(super) misuse: Option<Fault>,
}

impl Half {
    pub(super) const fn new(direction: Direction, listed: bool) -> Self {
        Self {
            direction,
            listed,
            mode: Mode::Passing,
            want: Want::Other,
            future: None,
            held: false,
            paused: false,
            empty: false,
            buffered: false,
            end: false,
            unread: 0,
            seen: 0,
            parts: Vec::new(),
            taken: None,
            stale: false,
            whole: None,
            replacement: None,
            reply: None,
            misuse: None,
        }
    }

    /// The head came.
    pub(super) const fn begin(&mut self, end: bool) {
        self.mode = Mode::Running;
        self.held = true;
        self.empty = end;
        self.end = end;
    }

    /// A piece of the body came: the host's buffer holds `size` bytes now.
    pub(super) fn arrive(&mut self, size: usize, end: bool) {
        self.buffered = true;
        self.end |= end;
        self.unread = size.saturating_sub(self.seen);
        self.whole = None;
    }

    /// The message goes on.
    pub(super) fn release(&mut self) {
        self.held = false;
        self.paused = false;
        self.buffered = false;
        self.seen = 0;
        self.unread = 0;
        self.taken = None;
        // Unless it waits for a buffer to be put into.
        if !self.stale {
            self.parts.clear();
        }
    }

    /// The whole body, once it has arrived.
    pub(crate) fn poll_whole(&mut self) -> Poll<Result<Bytes>> {
        if let Some(bytes) = self.replacement.as_ref().or(self.whole.as_ref()) {
            return Poll::Ready(Ok(bytes.clone()));
        }
        if self.empty {
            return Poll::Ready(Ok(Bytes::new()));
        }
        if !self.listed {
            return Poll::Ready(Err(self.unlisted("read")));
        }
        if !self.end {
            self.want = Want::Whole;
            return Poll::Pending;
        }
        let bytes = self.read_unread();
        self.whole = Some(bytes.clone());
        Poll::Ready(Ok(bytes))
    }

    /// The next chunk; none after the last.
    pub(crate) fn poll_chunk(&mut self) -> Poll<Result<Option<Bytes>>> {
        if !self.listed && !self.empty {
            return Poll::Ready(Err(self.unlisted("read")));
        }
        if self.unread > 0 {
            let bytes = self.read_unread();
            self.taken = (self.seen == 0).then(|| bytes.clone());
            self.seen += self.unread;
            self.unread = 0;
            self.stale = true;
            return Poll::Ready(Ok(Some(bytes)));
        }
        if self.end {
            return Poll::Ready(Ok(None));
        }
        self.want = Want::Chunk;
        Poll::Pending
    }

    /// Appends to what goes on.
    pub(crate) fn write(&mut self, bytes: Bytes) {
        if !self.listed && !self.empty {
            self.misuse = Some(self.unlisted_fault("written"));
        } else if !bytes.is_empty() {
            self.parts.push(bytes);
            self.stale = true;
        }
    }

    /// Replaces the whole body when the phase ends.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        if !self.held {
            let message = format!("the {} body was set after its head had left", self.direction.name());
            self.misuse = Some(Fault::new(message));
        } else if !self.listed && !self.empty {
            self.misuse = Some(self.unlisted_fault("set"));
        } else {
            self.replacement = Some(bytes);
        }
    }

    /// Answers with `reply` when the phase ends.
    pub(crate) fn set_reply(&mut self, reply: Reply) {
        self.reply = Some(reply);
    }

    /// Ends the phase well: `false` while the rest of a body that is to be replaced has not come.
    pub(super) fn finish(&mut self) -> bool {
        let Some(body) = self.replacement.take() else {
            self.mode = Mode::Passing;
            self.flush();
            if self.stale && self.end {
                log::error(&format!("what was written after the end of the {} body is lost", self.direction.name()));
            }
            return true;
        };
        if !self.end {
            self.replacement = Some(body);
            self.mode = Mode::Replacing;
            self.drop_unread();
            return false;
        }
        self.mode = Mode::Passing;
        if self.empty {
            self.give_body(&body);
        } else {
            if self.held {
                self.fix_length(body.len());
            }
            HOST.set_buffer(self.direction.buffer(), &body);
        }
        true
    }

    /// Throws away what has come of a body that is to be replaced.
    pub(super) fn drop_unread(&mut self) {
        if self.buffered && self.unread + self.seen > 0 {
            HOST.set_buffer(self.direction.buffer(), &[]);
            self.unread = 0;
            self.seen = 0;
        }
    }

    /// Makes the host's buffer what the filter wrote.
    pub(super) fn flush(&mut self) {
        if !self.stale || (!self.buffered && !self.empty) {
            return;
        }
        self.stale = false;
        if self.empty {
            let body = self.parts.concat();
            self.parts.clear();
            self.give_body(&body);
            return;
        }
        let same = matches!((&self.taken, &self.parts[..]), (Some(taken), [part]) if is_same(taken, part));
        if !same {
            let mut bytes = self.parts.concat();
            let written = bytes.len();
            if self.unread > 0 {
                bytes.extend_from_slice(&self.read_unread());
            }
            HOST.set_buffer(self.direction.buffer(), &bytes);
            self.seen = written;
        }
        self.taken = None;
        // What the buffer holds now is written; only what the author writes from here on is new.
        let written = std::mem::take(&mut self.parts);
        self.parts.extend((!written.is_empty()).then(|| self.kept(written)));
    }

    /// What was flushed but not let go, as one part.
    fn kept(&self, parts: Vec<Bytes>) -> Bytes {
        match <[Bytes; 1]>::try_from(parts) {
            Ok([only]) => only,
            Err(parts) => parts.concat().into(),
        }
    }

    /// The body starts to flow: its length is not known any more. Hosts that know the manifest do this themselves.
    pub(super) fn drop_length(&mut self) {
        if self.held && !self.empty {
            HOST.remove_header(self.direction.map(), "content-length");
        }
    }

    fn read_unread(&self) -> Bytes {
        HOST.buffer(self.direction.buffer(), self.seen, self.unread).unwrap_or_default()
    }

    /// Not every host corrects the length of a body that was replaced.
    fn fix_length(&self, length: usize) {
        let map = self.direction.map();
        if HOST.header(map, "content-length").is_some() {
            HOST.set_header(map, "content-length", length.to_string().as_bytes());
        }
    }

    /// Gives a body to a message that came without one.
    fn give_body(&self, body: &[u8]) {
        if body.is_empty() {
            return;
        }
        let mut arguments = Vec::with_capacity(body.len() + 1);
        arguments.push(self.direction as u8);
        arguments.extend_from_slice(body);
        match extension::call(extension::BODY, &arguments) {
            Ok(answer) if answer.first() == Some(&1) => {}
            Err(HostError::NotFound) => {
                let name = self.direction.name();
                log::error(&format!("this host cannot give a body to a {name} that has none: it goes on without"));
            }
            _ => log::error(&format!("it was too late to give the {} a body", self.direction.name())),
        }
    }

    fn unlisted(&self, done: &str) -> Error {
        Error::Fault(self.unlisted_fault(done))
    }

    fn unlisted_fault(&self, done: &str) -> Fault {
        let name = self.direction.name();
        Fault::new(format!(
            "the {name} body is {done} outside of the filter block, where #[filter] cannot see it: write #[filter({name}_body)]"
        ))
    }
}

/// The same bytes at the same place.
fn is_same(a: &Bytes, b: &Bytes) -> bool {
    a.len() == b.len() && a.as_ptr() == b.as_ptr()
}
