//! The host functions that Sluicegate adds (sdk/HOST.md), as the harness plays them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::host::define;
use super::world::World;
use crate::host::{Direction, HostError, Map, MetricKind};
use crate::pairs::{self, Pairs};
use crate::state::Window;

/// A value and when it expires (0: never).
type Entry<T> = (T, u64);

/// What the functions store.
#[derive(Default)]
pub(super) struct Store {
    counters: BTreeMap<Vec<u8>, Entry<i64>>,
    values: BTreeMap<Vec<u8>, Entry<Vec<u8>>>,
    arrivals: BTreeMap<Vec<u8>, u64>,
}

/// Calls a function.
pub(super) fn call(world: &mut World, name: &str, arguments: &[u8]) -> Result<Bytes, HostError> {
    let mut arguments = Arguments(arguments);
    match name {
        "sluicegate.gcra" => gcra(world, &mut arguments),
        "sluicegate.counter" => counter(world, &mut arguments),
        "sluicegate.kv_get" => Ok(get(world, arguments.0)),
        "sluicegate.kv_set" => {
            let ttl = arguments.u64()?;
            let length = arguments.u32()?;
            let key = arguments.take(length)?.to_vec();
            let expires = expiry(world.now, ttl);
            world.store.values.insert(key, (arguments.0.to_vec(), expires));
            Ok(Bytes::new())
        }
        "sluicegate.kv_delete" => {
            world.store.values.remove(arguments.0);
            Ok(Bytes::new())
        }
        "sluicegate.metric" => metric(world, &mut arguments),
        "sluicegate.print" => {
            world.printed.push(String::from_utf8_lossy(arguments.0).into_owned());
            Ok(Bytes::new())
        }
        "clear_route_cache" => {
            world.stream().ok_or(HostError::BadArgument)?.route_cleared = true;
            Ok(Bytes::new())
        }
        "sluicegate.body" => body(world, &mut arguments),
        "sluicegate.fault" => {
            let message = String::from_utf8_lossy(arguments.0).into_owned();
            world.logs.push(format!("error: {message}"));
            world.stream().ok_or(HostError::BadArgument)?.fault = Some(message);
            Ok(Bytes::new())
        }
        "sluicegate.fields" => fields(world, &mut arguments),
        "sluicegate.properties" => properties(world, &mut arguments),
        _ => Err(HostError::NotFound),
    }
}

fn gcra(world: &mut World, arguments: &mut Arguments<'_>) -> Result<Bytes, HostError> {
    let (limit, window, burst, cost) = (arguments.u64()?, arguments.u64()?, arguments.u64()?, arguments.u64()?);
    let window = Window::gcra(limit, Duration::from_nanos(window), burst);
    let arrival = world.store.arrivals.get(arguments.0).copied();
    let (arrival, decision) = window.decide(arrival, world.now, cost);
    world.store.arrivals.insert(arguments.0.to_vec(), arrival);
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let numbers = [decision.allowed.into(), decision.remaining, nanos(decision.reset), nanos(decision.retry_after)];
    Ok(numbers.map(u64::to_le_bytes).concat().into())
}

fn counter(world: &mut World, arguments: &mut Arguments<'_>) -> Result<Bytes, HostError> {
    let delta = arguments.u64()?.cast_signed();
    let ttl = arguments.u64()?;
    let now = world.now;
    let fresh = (0, expiry(now, ttl));
    let entry = world.store.counters.entry(arguments.0.to_vec()).or_insert(fresh);
    if entry.1 > 0 && entry.1 <= now {
        *entry = fresh;
    }
    entry.0 = entry.0.saturating_add(delta);
    Ok(Bytes::copy_from_slice(&entry.0.to_le_bytes()))
}

fn get(world: &World, key: &[u8]) -> Bytes {
    match world.store.values.get(key) {
        Some((value, expires)) if *expires == 0 || *expires > world.now => [&[1], &value[..]].concat().into(),
        _ => Bytes::new(),
    }
}

fn metric(world: &mut World, arguments: &mut Arguments<'_>) -> Result<Bytes, HostError> {
    let kind = match arguments.take(1)? {
        [0] => MetricKind::Counter,
        [1] => MetricKind::Gauge,
        [2] => MetricKind::Histogram,
        _ => return Err(HostError::BadArgument),
    };
    let length = arguments.u32()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = text(arguments.take(length)?);
    let labels =
        Pairs::new(Bytes::copy_from_slice(arguments.0)).map(|(key, value)| (text(&key), text(&value))).collect();
    Ok(Bytes::copy_from_slice(&define(world, kind, &name, labels).to_le_bytes()))
}

fn fields(world: &mut World, arguments: &mut Arguments<'_>) -> Result<Bytes, HostError> {
    let map = match arguments.take(1)? {
        [0] => Map::Request,
        [2] => Map::Response,
        _ => return Err(HostError::BadArgument),
    };
    let named = |name: &str| name.as_bytes().eq_ignore_ascii_case(arguments.0);
    let fields = world.fields(map).map(|fields| fields.iter().filter(|(name, _)| named(name)).collect::<Vec<_>>());
    Ok(pairs::encode(fields.unwrap_or_default().iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))).into())
}

fn properties(world: &mut World, arguments: &mut Arguments<'_>) -> Result<Bytes, HostError> {
    let mut answer = Vec::new();
    while !arguments.0.is_empty() {
        let length = arguments.u32()?;
        let path = std::str::from_utf8(arguments.take(length)?).map_err(|_| HostError::BadArgument)?;
        let value = world.property(path);
        let length = value.as_ref().and_then(|value| u32::try_from(value.len()).ok()).unwrap_or(u32::MAX);
        answer.extend_from_slice(&length.to_le_bytes());
        answer.extend(value.unwrap_or_default());
    }
    Ok(answer.into())
}

fn body(world: &mut World, arguments: &mut Arguments<'_>) -> Result<Bytes, HostError> {
    let direction = match arguments.take(1)? {
        [0] => Direction::Request,
        [1] => Direction::Response,
        _ => return Err(HostError::BadArgument),
    };
    let side = world.side(direction).ok_or(HostError::BadArgument)?;
    let accepted = side.held && side.empty;
    if accepted {
        side.given = Some(arguments.0.to_vec());
    }
    Ok(Bytes::copy_from_slice(&[accepted.into()]))
}

const fn expiry(now: u64, ttl_ms: u64) -> u64 {
    if ttl_ms == 0 { 0 } else { now.saturating_add(ttl_ms.saturating_mul(1_000_000)) }
}

/// What is left of a function's arguments.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], HostError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(HostError::BadArgument)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, HostError> {
        let bytes = self.take(8)?.try_into().map_err(|_| HostError::BadArgument)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn u32(&mut self) -> Result<usize, HostError> {
        let bytes = self.take(4)?.try_into().map_err(|_| HostError::BadArgument)?;
        usize::try_from(u32::from_le_bytes(bytes)).map_err(|_| HostError::BadArgument)
    }
}
