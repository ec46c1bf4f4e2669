//! The cases of requests as bytes: what no client library sends, what the client must be answered, and what may reach an upstream.
//!
//! `tests/conformance/raw/NAME.json` is a list of rows. `send` has the bytes, one for each character; in a list, `["x", 9]` stands for
//! nine of them. `reaches` are the requests that an upstream reads, by the letter of the RFC, and all that it reads; without it, none.
//! `answers` are the statuses: without them one 400, or a 200 for each request that reaches an upstream. Every row is followed by a
//! request for [`END`], which is only answered where the bytes before it were requests that leave the connection in order: not after an
//! error, and not where the row `closes`. `hides` names fields that no upstream may get.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::raw::Raw;
use crate::recorder::Recorder;

/// What is asked for after each row.
const END: &str = "GET /end";
/// Bytes that are sent at a time when a row dribbles in, and the most pieces that a long one makes.
const PIECE: usize = 7;
const PIECES: usize = 500;

/// One row.
struct Row {
    bytes: Vec<u8>,
    /// Requests, and whether the one for the end is among them.
    reaches: Vec<String>,
    answers: Vec<u16>,
    hides: Vec<String>,
}

/// Sends the rows of a file to a gateway, each at once and in pieces. How many rows there are, and what is wrong with which.
///
/// # Panics
/// The file is not written well.
pub async fn run(file: &Path, gateway: SocketAddr, recorder: &Recorder) -> (usize, Vec<String>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut wrong = Vec::new();
    for value in &rows {
        let row = Row::parse(value);
        for whole in [true, false] {
            if let Some(problem) = row.run(gateway, recorder, whole).await {
                wrong.push(format!("{value}\n    {}: {problem}", if whole { "at once" } else { "in pieces" }));
            }
        }
    }
    (rows.len(), wrong)
}

impl Row {
    fn parse(row: &Value) -> Self {
        const KEYS: [&str; 6] = ["says", "send", "reaches", "answers", "closes", "hides"];
        let keys = row.as_object().expect("a row is an object").keys();
        keys.for_each(|key| assert!(KEYS.contains(&key.as_str()), "{row} has a {key:?}"));
        let texts = |key: &str| -> Vec<String> {
            row[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut reaches = texts("reaches");
        let mut answers: Vec<u16> = row["answers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .filter_map(|code| code.try_into().ok())
            .collect();
        if answers.is_empty() {
            answers = if reaches.is_empty() { vec![400] } else { vec![200; reaches.len()] };
        }
        if answers.iter().all(|status| *status < 400) && row["closes"] != true {
            reaches.push(END.to_owned());
            answers.push(200);
        }
        let mut bytes = bytes(&row["send"]);
        bytes.extend(format!("{END} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").bytes());
        Self { bytes, reaches, answers, hides: texts("hides") }
    }
    async fn run(&self, gateway: SocketAddr, recorder: &Recorder, whole: bool) -> Option<String> {
        let before = recorder.seen().len();
        let mut raw = Raw::connect(gateway).await;
        let piece = if whole { self.bytes.len() } else { PIECE.max(self.bytes.len() / PIECES) };
        for piece in self.bytes.chunks(piece) {
            raw.write(piece).await;
        }
        let text = String::from_utf8_lossy(&raw.rest().await).into_owned();
        let seen = recorder.seen().split_off(before);
        let status = Regex::new(r"HTTP/1\.[01] ([2-5]\d\d) ").expect("an expression");
        let answers: Vec<u16> = status.captures_iter(&text).filter_map(|found| found[1].parse().ok()).collect();
        // A body that breaks a rule after its head was handed on: what is left is to close.
        let cut = !whole && self.answers.split_last().is_some_and(|(last, rest)| *last >= 400 && answers == rest);
        if answers != self.answers && !cut {
            return Some(format!("answered {answers:?}, not {:?}: {text:?}", self.answers));
        }
        let reached: Vec<&String> = seen.iter().map(|request| &request.text).collect();
        if reached != self.reaches.iter().collect::<Vec<_>>() {
            return Some(format!("an upstream read {reached:?}, not {:?}", self.reaches));
        }
        let shown = seen.iter().flat_map(|request| &request.names).find(|name| self.hides.contains(name));
        shown.map(|name| format!("an upstream got {name}"))
    }
}

fn bytes(send: &Value) -> Vec<u8> {
    let latin = |text: &str| -> Vec<u8> { text.chars().map(|c| u8::try_from(c).expect("a byte")).collect() };
    match send {
        Value::String(text) => latin(text),
        Value::Array(parts) if parts.get(1).is_some_and(Value::is_u64) => {
            let times = parts[1].as_u64().and_then(|times| usize::try_from(times).ok()).unwrap_or_default();
            latin(parts[0].as_str().expect("a text is repeated")).repeat(times)
        }
        Value::Array(parts) => parts.iter().flat_map(bytes).collect(),
        other => panic!("{other} is no text"),
    }
}
