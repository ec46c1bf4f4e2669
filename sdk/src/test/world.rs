//! What the harness's host knows: the clock, stored state, and the messages of each stream.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::extensions::Store;
use super::message::{Call, CallReply, Fields};
use crate::host::{Direction, Map, MetricKind};
use crate::reply::Reply;

/// The context id of the filter; streams come after it.
pub(super) const ROOT: u32 = 1;
/// Where the clock starts: 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000_000_000;

/// An upstream that a test plays.
pub(super) type Handler = Rc<dyn Fn(&Call) -> CallReply>;

/// A callout on its way.
pub(super) struct Pending {
    pub(super) token: u32,
    pub(super) call: Call,
    pub(super) timeout: Duration,
    /// The answer and when it comes; none before the upstream was asked.
    pub(super) answer: Option<(u64, CallReply)>,
}

/// One metric.
pub(super) struct Metric {
    pub(super) kind: MetricKind,
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: i64,
}

/// One direction of a stream.
#[derive(Default)]
pub(super) struct Side {
    pub(super) fields: Fields,
    /// The head has not been let go.
    pub(super) held: bool,
    /// What is held of the body, while there is something to hold.
    pub(super) buffer: Option<Vec<u8>>,
    /// There is no body.
    pub(super) empty: bool,
    /// A body that the filter gave to a message without one.
    pub(super) given: Option<Vec<u8>>,
    pub(super) resumed: bool,
}

/// One stream.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) sides: [Side; 2],
    pub(super) reply: Option<Reply>,
    pub(super) fault: Option<String>,
    pub(super) route_cleared: bool,
    pub(super) properties: BTreeMap<String, Vec<u8>>,
}

/// Everything.
pub(crate) struct World {
    pub(super) now: u64,
    /// Period and next time of the tick, nanoseconds.
    pub(super) tick: Option<(u64, u64)>,
    pub(super) extensions: bool,
    /// The filter has started: callouts go to upstreams that must exist.
    pub(super) started: bool,
    pub(super) effective: u32,
    pub(super) streams: BTreeMap<u32, Exchange>,
    pub(super) properties: BTreeMap<String, Vec<u8>>,
    pub(super) shared: BTreeMap<String, (Bytes, u32)>,
    pub(super) store: Store,
    pub(super) metrics: Vec<Metric>,
    pub(super) logs: Vec<String>,
    pub(super) printed: Vec<String>,
    pub(super) upstreams: BTreeMap<String, Handler>,
    pub(super) pending: Vec<Pending>,
    pub(super) made: Vec<Call>,
    /// The answer that is being delivered.
    pub(super) answer: Option<(Fields, Bytes)>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: START,
            tick: None,
            extensions: true,
            started: false,
            effective: ROOT,
            streams: BTreeMap::new(),
            properties: BTreeMap::new(),
            shared: BTreeMap::new(),
            store: Store::default(),
            metrics: Vec::new(),
            logs: Vec::new(),
            printed: Vec::new(),
            upstreams: BTreeMap::new(),
            pending: Vec::new(),
            made: Vec::new(),
            answer: None,
        }
    }
}

impl World {
    /// The stream that hostcalls act on.
    pub(super) fn stream(&mut self) -> Option<&mut Exchange> {
        self.streams.get_mut(&self.effective)
    }

    pub(super) fn side(&mut self, direction: Direction) -> Option<&mut Side> {
        Some(&mut self.stream()?.sides[direction as usize])
    }

    /// The headers of a map, to read.
    pub(super) fn fields(&mut self, map: Map) -> Option<&Fields> {
        match map {
            Map::Request => self.side(Direction::Request).map(|side| &side.fields),
            Map::Response => self.side(Direction::Response).map(|side| &side.fields),
            Map::Call => self.answer.as_ref().map(|(fields, _)| fields),
        }
    }

    /// The headers of a map, to change; none (and a log line) once the head has left.
    pub(super) fn held_fields(&mut self, map: Map, name: &str) -> Option<&mut Fields> {
        let direction = match map {
            Map::Request => Direction::Request,
            Map::Response => Direction::Response,
            Map::Call => return None,
        };
        if !self.side(direction)?.held {
            self.logs
                .push(format!("warn: header {name} was written after the {} head had left: ignored", direction.name()));
            return None;
        }
        self.side(direction).map(|side| &mut side.fields)
    }

    pub(super) fn property(&mut self, path: &str) -> Option<Vec<u8>> {
        let own = self.stream().and_then(|stream| stream.properties.get(path).cloned());
        own.or_else(|| self.properties.get(path).cloned()).or_else(|| self.of_message(path))
    }

    /// Properties that repeat a message's head.
    fn of_message(&mut self, path: &str) -> Option<Vec<u8>> {
        let (map, name) = match path {
            "request\0method" => (Map::Request, ":method"),
            "request\0path" => (Map::Request, ":path"),
            "request\0host" => (Map::Request, ":authority"),
            "request\0scheme" => (Map::Request, ":scheme"),
            "request\0useragent" => (Map::Request, "user-agent"),
            "request\0referer" => (Map::Request, "referer"),
            "response\0code" => (Map::Response, ":status"),
            _ => return None,
        };
        let value = self.fields(map)?.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())?;
        if map == Map::Request {
            return Some(value);
        }
        let status: u64 = std::str::from_utf8(&value).ok()?.parse().ok()?;
        Some(status.to_le_bytes().to_vec())
    }
}
