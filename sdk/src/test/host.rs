//! The hostcalls of the harness.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::extensions;
use super::message::{Call, Fields};
use super::world::{Metric, Pending, World};
use crate::host::{Buffer, CallParts, Direction, Host, HostError, Map, MetricKind};
use crate::log::Level;
use crate::pairs;
use crate::reply::Reply;
use crate::{extension, metrics};

/// The host.
pub(crate) const HOST: Native = Native;

/// Acts on the world of the harness that is running on this thread.
pub(crate) struct Native;

thread_local! {
    static WORLD: RefCell<Rc<RefCell<World>>> = RefCell::default();
    /// Tokens are never used twice on a thread, even by two harnesses.
    static TOKENS: RefCell<u32> = const { RefCell::new(0) };
}

/// Makes `world` the one that hostcalls act on.
pub(super) fn enter(world: &Rc<RefCell<World>>) {
    let before = WORLD.replace(world.clone());
    if !Rc::ptr_eq(&before, world) {
        forget();
    }
}

/// What the SDK remembers of a host is of another host.
pub(super) fn forget() {
    extension::forget();
    metrics::forget();
}

/// Borrows the world for one hostcall; the author's code never runs inside.
fn with<T>(call: impl FnOnce(&mut World) -> T) -> T {
    let world = WORLD.with_borrow(Rc::clone);
    let mut world = world.borrow_mut();
    call(&mut world)
}

fn is(field: &str, name: &str) -> bool {
    field.eq_ignore_ascii_case(name)
}

fn serialise(fields: &Fields) -> Bytes {
    pairs::encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))).into()
}

const fn direction(buffer: Buffer) -> Option<Direction> {
    match buffer {
        Buffer::Request => Some(Direction::Request),
        Buffer::Response => Some(Direction::Response),
        Buffer::Call => None,
    }
}

impl Host for Native {
    fn log(&self, level: Level, text: &str) {
        let level = format!("{level:?}").to_lowercase();
        with(|world| world.logs.push(format!("{level}: {text}")));
    }

    fn log_level(&self) -> Level {
        Level::Trace
    }

    fn now(&self) -> u64 {
        with(|world| world.now)
    }

    fn set_tick(&self, period_ms: u32) {
        let period = u64::from(period_ms) * 1_000_000;
        with(|world| world.tick = (period > 0).then_some((period, world.now + period)));
    }

    fn header(&self, map: Map, name: &str) -> Option<Bytes> {
        with(|world| {
            let fields = world.fields(map)?;
            fields.iter().find(|(field, _)| is(field, name)).map(|(_, value)| Bytes::copy_from_slice(value))
        })
    }

    fn headers(&self, map: Map) -> Bytes {
        with(|world| world.fields(map).map(serialise).unwrap_or_default())
    }

    fn set_header(&self, map: Map, name: &str, value: &[u8]) {
        with(|world| {
            let Some(fields) = world.held_fields(map, name) else { return };
            let first = fields.iter().position(|(field, _)| is(field, name));
            fields.retain(|(field, _)| !is(field, name));
            let at = first.unwrap_or(fields.len());
            fields.insert(at, (name.to_ascii_lowercase(), value.to_vec()));
        });
    }

    fn add_header(&self, map: Map, name: &str, value: &[u8]) {
        with(|world| {
            let Some(fields) = world.held_fields(map, name) else { return };
            fields.push((name.to_ascii_lowercase(), value.to_vec()));
        });
    }

    fn remove_header(&self, map: Map, name: &str) {
        with(|world| {
            let Some(fields) = world.held_fields(map, name) else { return };
            fields.retain(|(field, _)| !is(field, name));
        });
    }

    fn buffer(&self, buffer: Buffer, start: usize, length: usize) -> Option<Bytes> {
        with(|world| {
            let bytes = match direction(buffer) {
                Some(direction) => world.side(direction)?.buffer.as_deref()?,
                None => world.answer.as_ref().map(|(_, body)| &body[..])?,
            };
            let start = start.min(bytes.len());
            let end = start.saturating_add(length).min(bytes.len());
            Some(Bytes::copy_from_slice(&bytes[start..end]))
        })
    }

    fn set_buffer(&self, buffer: Buffer, bytes: &[u8]) {
        with(|world| {
            let Some(held) = direction(buffer).and_then(|direction| world.side(direction)?.buffer.as_mut()) else {
                world.logs.push("warn: a body was set that the host does not hold: ignored".to_owned());
                return;
            };
            *held = bytes.to_vec();
        });
    }

    fn property(&self, path: &[&str]) -> Option<Bytes> {
        with(|world| world.property(&path.join("\0")).map(Bytes::from))
    }

    fn set_property(&self, path: &[&str], value: &[u8]) {
        with(|world| {
            if let Some(stream) = world.stream() {
                stream.properties.insert(path.join("\0"), value.to_vec());
            }
        });
    }

    fn shared(&self, key: &str) -> (Option<Bytes>, u32) {
        with(|world| world.shared.get(key).map_or((None, 0), |(value, version)| (Some(value.clone()), *version)))
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
        with(|world| {
            let current = world.shared.get(key).map_or(0, |(_, version)| *version);
            if version != 0 && version != current {
                return Err(HostError::CasMismatch);
            }
            world.shared.insert(key.to_owned(), (Bytes::copy_from_slice(value), current + 1));
            Ok(())
        })
    }

    fn http_call(&self, parts: &CallParts<'_>) -> Result<u32, HostError> {
        with(|world| {
            if world.started && !world.upstreams.contains_key(parts.upstream) {
                return Err(HostError::BadArgument);
            }
            let fields = parts
                .headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone().into_bytes()))
                .collect();
            let call = Call::new(parts.upstream, &fields, Bytes::copy_from_slice(parts.body));
            let token = TOKENS.with_borrow_mut(|token| {
                *token += 1;
                *token
            });
            let timeout = Duration::from_millis(parts.timeout_ms.into());
            world.made.push(call.clone());
            world.pending.push(Pending { token, call, timeout, answer: None });
            Ok(token)
        })
    }

    fn reply(&self, reply: &Reply) {
        with(|world| {
            // The first one counts.
            if let Some(stream) = world.stream() {
                stream.reply.get_or_insert_with(|| reply.clone());
            }
        });
    }

    fn resume(&self, direction: Direction) {
        with(|world| {
            if let Some(side) = world.side(direction) {
                side.resumed = true;
            }
        });
    }

    fn set_effective_context(&self, context: u32) {
        with(|world| world.effective = context);
    }

    fn foreign(&self, name: &str, arguments: &[u8]) -> Result<Bytes, HostError> {
        with(|world| if world.extensions { extensions::call(world, name, arguments) } else { Err(HostError::NotFound) })
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        with(|world| Some(define(world, kind, name, Vec::new())))
    }

    fn increment_metric(&self, id: u32, by: i64) {
        with(|world| {
            if let Some(metric) = metric(world, id) {
                metric.value += by;
            }
        });
    }

    fn record_metric(&self, id: u32, value: u64) {
        with(|world| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            match metric(world, id) {
                Some(gauge) if gauge.kind == MetricKind::Gauge => gauge.value = value,
                Some(histogram) => histogram.value += value,
                None => {}
            }
        });
    }
}

/// Finds or makes a metric; its id is its place, counted from one.
pub(super) fn define(world: &mut World, kind: MetricKind, name: &str, labels: Vec<(String, String)>) -> u32 {
    let found = world.metrics.iter().position(|metric| metric.name == name && metric.labels == labels);
    let at = found.unwrap_or_else(|| {
        world.metrics.push(Metric { kind, name: name.to_owned(), labels, value: 0 });
        world.metrics.len() - 1
    });
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

fn metric(world: &mut World, id: u32) -> Option<&mut Metric> {
    world.metrics.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
}
