//! HTTP/2 frames that cost the gateway work and the client next to nothing: pings, settings, priorities, empty data. A few are
//! how connections are kept; thousands a second are an attack (CVE-2019-9512, -9513, -9515, -9518).
//!
//! Follows the bytes of a connection frame by frame (RFC 9113 §4.1), without looking into any.

use std::time::{Duration, Instant};

use tokio::io::ReadBuf;

/// Bytes of a frame's header.
const HEADER: usize = 9;
/// The connection preface, which is no frame.
const PREFACE: usize = 24;
/// Streams that a connection may reset at once, and how many more in a second. A browser that leaves a page resets some hundred.
const RESETS: Bucket = Bucket { most: 1000, per_second: 100 };
/// Frames that carry nothing. Clients of gRPC that measure their connection send some hundred pings a second.
const EMPTY: Bucket = Bucket { most: 5000, per_second: 1000 };

const DATA: u8 = 0;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// The last type that the protocol defines; others are to be ignored, which costs no less.
const LAST: u8 = 9;
/// The flag of an answer to settings or a ping.
const ACK: u8 = 1;
/// The flag of a frame that ends its stream.
const END_STREAM: u8 = 1;

/// The beginning of a head (RFC 9113 §6.2) without fields and without an end, of the first stream, and one of the frames that continue it.
const HEAD: [u8; HEADER] = [0, 0, 0, 1, 0, 0, 0, 0, 1];
const CONTINUATION: [u8; HEADER] = [0, 0, 0, 9, 0, 0, 0, 0, 1];
/// Most bytes of such a head. The HTTP library has enough after a few frames.
const MOST_OF_A_HEAD: usize = 1 << 20;

/// The connection floods the gateway.
#[derive(Debug, thiserror::Error)]
#[error("too many HTTP/2 frames that carry nothing, or end what has only begun")]
pub(super) struct Flood {
    /// Bytes of what was fed up to the payload of the frame that was one too many.
    pub(super) good: usize,
    /// What is to be read instead of all that follows.
    pub(super) endless: Endless,
}

/// Follows one connection.
pub(super) struct Frames {
    /// Bytes to come of what is not looked at.
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
    empty: Left,
    resets: Left,
}

/// How many frames of a kind a connection may send.
struct Bucket {
    /// At once.
    most: u32,
    /// How many more in a second.
    per_second: u32,
}

/// How many of them it may still send.
struct Left {
    of: Bucket,
    allowed: u32,
    since: Instant,
}

impl Left {
    fn all(of: Bucket) -> Self {
        Self { allowed: of.most, of, since: Instant::now() }
    }
    /// One is sent. False: it is one too many.
    fn take(&mut self) -> bool {
        if self.allowed == 0 {
            self.refill();
        }
        let left = self.allowed.checked_sub(1);
        self.allowed = left.unwrap_or(0);
        left.is_some()
    }
    /// Looks at the clock only when the last ones are used up.
    fn refill(&mut self) {
        let Bucket { most, per_second } = self.of;
        let passed = self.since.elapsed().min(Duration::from_secs(u64::from(most / per_second)));
        self.allowed = u32::try_from(passed.as_millis() * u128::from(per_second) / 1000).unwrap_or(most);
        self.since = Instant::now();
    }
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { skip: PREFACE, header: [0; HEADER], filled: 0, empty: Left::all(EMPTY), resets: Left::all(RESETS) }
    }
    /// Follows further bytes.
    ///
    /// # Errors
    /// There are too many frames that carry nothing.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        let all = bytes.len();
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                self.filled = 0;
                if !self.frame() {
                    return Err(Flood { good: all - bytes.len(), endless: Endless { owed: self.skip, read: 0 } });
                }
            }
        }
        Ok(())
    }
    /// Whether the frame whose header was read is one that the connection may send.
    fn frame(&mut self) -> bool {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        // Answers to what the gateway has sent cost nothing more.
        if matches!(kind, SETTINGS | PING) && flags & ACK != 0 {
            return true;
        }
        if kind == RST_STREAM {
            return self.resets.take();
        }
        let empty = kind == DATA && self.skip == 0 && flags & END_STREAM == 0;
        if !empty && !matches!(kind, PRIORITY | SETTINGS | PING) && kind <= LAST {
            return true;
        }
        self.empty.take()
    }
}

/// What the HTTP library reads after a flood in place of what the client sends: the rest of the frame that was one too many, then a head
/// that never ends. That is the one thing by which it can be told from outside to end a connection with GOAWAY and ENHANCE_YOUR_CALM: it
/// says so in order with what it is writing, names the last stream that it has taken up, and closes.
#[derive(Debug)]
pub(super) struct Endless {
    /// Bytes of the frame that was one too many.
    owed: usize,
    read: usize,
}

impl Endless {
    /// Reads some more. False: the library has not had enough, which it should have.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.read > self.owed.saturating_add(MOST_OF_A_HEAD) {
            return false;
        }
        while buf.remaining() > 0 {
            let byte = match self.read.checked_sub(self.owed) {
                None => 0,
                Some(place @ ..HEADER) => HEAD[place],
                Some(place) => CONTINUATION[place % HEADER],
            };
            buf.put_slice(&[byte]);
            self.read += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    fn fed(frame: &[u8], times: u32, piece: usize) -> Result<(), Flood> {
        let mut frames = Frames::new();
        frames.feed(&[b'P'; PREFACE])?;
        let all = frame.repeat(usize::try_from(times).unwrap());
        all.chunks(piece).try_for_each(|piece| frames.feed(piece))
    }

    #[test]
    fn a_flood_is_noticed_however_its_bytes_are_cut() {
        for kind in [PRIORITY, SETTINGS, PING, LAST + 1, 255] {
            for piece in [1, 7, 4096] {
                assert!(fed(&frame(kind, 0, b"12345678"), EMPTY.most, piece).is_ok());
                assert!(
                    fed(&frame(kind, 0, b"12345678"), 2 * EMPTY.most, piece).is_err(),
                    "{kind} in pieces of {piece}"
                );
            }
        }
        assert!(fed(&frame(DATA, 0, b""), 2 * EMPTY.most, 100).is_err());
    }

    #[test]
    fn resets_of_streams_are_counted_by_themselves() {
        let reset = frame(RST_STREAM, 0, &[0, 0, 0, 8]);
        assert!(fed(&reset, 1000, 100).is_ok());
        assert!(fed(&reset, 1500, 100).is_err());
    }

    #[test]
    fn what_carries_something_is_never_one() {
        for (kind, flags, payload) in
            [(DATA, 0, &b"x"[..]), (DATA, END_STREAM, b""), (1, 4, b"head"), (8, 0, b"1234"), (PING, ACK, b"12345678")]
        {
            assert!(fed(&frame(kind, flags, payload), 100 * EMPTY.most, 4096).is_ok(), "{kind}");
        }
    }

    #[test]
    fn what_follows_a_flood_is_the_rest_of_a_frame_and_a_head_that_never_ends() {
        let mut frames = Frames::new();
        (frames.skip, frames.empty.allowed) = (0, 1);
        let pings = frame(PING, 0, b"12345678").repeat(2);
        let Err(Flood { good, mut endless }) = frames.feed(&pings) else { panic!("one is too many") };
        assert_eq!(good, 17 + HEADER);
        let mut all = Vec::new();
        for piece in [3, 4, 7, 100] {
            let mut bytes = vec![0xff; piece];
            assert!(endless.read(&mut ReadBuf::new(&mut bytes)));
            all.extend(bytes);
        }
        let expected = [&[0; 8][..], &HEAD, &CONTINUATION.repeat(20)].concat();
        assert_eq!(all, expected[..all.len()]);
        while endless.read(&mut ReadBuf::new(&mut [0; 10_000])) {}
        assert!(endless.read > MOST_OF_A_HEAD);
    }

    #[test]
    fn time_allows_for_more() {
        let mut frames = Frames::new();
        (frames.skip, frames.empty.allowed) = (0, 0);
        frames.empty.since = Instant::now().checked_sub(Duration::from_secs(3600)).unwrap();
        assert!(
            frames.feed(&frame(PING, 0, b"12345678").repeat(5000)).is_ok(),
            "no more than a burst, whatever the time"
        );
        assert!(frames.feed(&frame(PING, 0, b"12345678").repeat(5000)).is_err());
    }
}
