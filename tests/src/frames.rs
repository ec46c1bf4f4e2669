//! The cases of HTTP/2 requests as frames: heads that no client library sends, and what may come of them as HTTP/1.1.
//!
//! `tests/conformance/frames/NAME.json` is a list of rows. `fields` are pairs of names and values, sent as they are, one byte for each
//! character; without pseudo-fields among them those of a good GET come first. `body` is sent in one frame. `reaches` is the request that an
//! upstream reads (see [`crate::recorder`]); without it the stream or its connection is refused, and nothing reaches an upstream.
//! `hides` names fields that no upstream may get.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::raw::Raw;
use crate::recorder::Recorder;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` as HPACK has it (RFC 7541 appendix A).
const STATUS_200: u8 = 0x88;
/// What precedes fields that are no pseudo-fields.
const GOOD: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Answered200,
    /// With another status, by a reset or with the connection.
    Refused,
}

/// Sends the rows of a file, each on a connection of its own. How many rows there are, and what is wrong with which.
///
/// # Panics
/// The file is not written well.
pub async fn run(file: &Path, gateway: SocketAddr, recorder: &Recorder) -> (usize, Vec<String>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut wrong = Vec::new();
    for row in &rows {
        const KEYS: [&str; 4] = ["fields", "body", "reaches", "hides"];
        let keys = row.as_object().expect("a row is an object").keys();
        keys.for_each(|key| assert!(KEYS.contains(&key.as_str()), "{row} has a {key:?}"));
        let before = recorder.seen().len();
        let mut raw = Raw::connect(gateway).await;
        raw.write(bytes(row)).await;
        let end = end(&mut raw).await;
        let seen = recorder.seen().split_off(before);
        let reached: Vec<&str> = seen.iter().map(|request| request.text.as_str()).collect();
        let expected: Vec<&str> = row["reaches"].as_str().into_iter().collect();
        let hidden = |name: &&String| row["hides"].as_array().into_iter().flatten().any(|known| known == *name);
        let shown = seen.iter().flat_map(|request| &request.names).find(hidden);
        let good = if expected.is_empty() { End::Refused } else { End::Answered200 };
        if (&end, &reached, shown) != (&good, &expected, None) {
            wrong.push(format!("{row}\n    {end:?}, an upstream read {reached:?} {shown:?}"));
        }
    }
    (rows.len(), wrong)
}

/// A connection's bytes for one row.
fn bytes(row: &Value) -> Vec<u8> {
    let pairs: Vec<(&str, &str)> = row["fields"].as_array().into_iter().flatten().map(pair).collect();
    let mut block = Vec::new();
    let good = if pairs.iter().any(|(name, _)| name.starts_with(':')) { &[][..] } else { &GOOD[..] };
    for (name, value) in good.iter().chain(&pairs) {
        // A literal without indexing, with a new name (RFC 7541 §6.2.2).
        block.push(0);
        [name, value].into_iter().for_each(|text| literal(text, &mut block));
    }
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    match row["body"].as_str() {
        None => bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)),
        Some(body) => {
            bytes.extend(frame(HEADERS, END_HEADERS, 1, &block));
            bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
    }
    bytes
}

fn pair(field: &Value) -> (&str, &str) {
    match (field[0].as_str(), field[1].as_str()) {
        (Some(name), Some(value)) => (name, value),
        _ => panic!("{field} is no pair"),
    }
}

/// A text without Huffman code, of less than 127 bytes.
fn literal(text: &str, block: &mut Vec<u8>) {
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("a byte")).collect();
    block.push(u8::try_from(bytes.len()).ok().filter(|length| *length < 127).expect("a short text"));
    block.extend(bytes);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Reads frames until it is clear what became of the stream.
async fn end(raw: &mut Raw) -> End {
    let mut status = None;
    loop {
        let Some(head) = raw.take_if_there(9).await else { return End::Refused };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some(payload) = raw.take_if_there(length).await else { return End::Refused };
        match head[3] {
            RST_STREAM | GOAWAY => return End::Refused,
            HEADERS if status.is_none() => status = payload.first().copied(),
            HEADERS | DATA => {}
            _ => continue,
        }
        if head[4] & END_STREAM != 0 {
            return if status == Some(STATUS_200) { End::Answered200 } else { End::Refused };
        }
    }
}
