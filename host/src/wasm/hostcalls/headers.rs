//! Header maps: heads and trailers of the stream, and of a callout's answer.
//!
//! Names are compared without regard to case and arrive lower-case. A request's `host` is its `:authority`. A value
//! that a filter writes and that is not legal on the wire (CR, LF, NUL …) is dropped and logged. Maps are readable from
//! their arrival to the end of the stream; writing to one that has gone on is ignored (with OK, see the module above).

use http::HeaderValue;
use wasmtime::{Caller, Linker};

use super::{Answer, Map, Status, hostcall};
use crate::filter::{Direction, Field, GrpcEvent, Headers, Name};
use crate::wasm::callouts::Incoming;
use crate::wasm::host_state::HostState;
use crate::wasm::limits::{LONG_VALUE, MAP_BYTES, MAP_FIELDS};
use crate::wasm::memory::Guest;
use crate::wasm::pairs::{self, Pair};

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_get_header_map_size", |caller: Caller<'_, HostState>, map: u32, size: u32| {
        hostcall(caller, |guest| {
            let bytes = guest.host().with_map(map.try_into()?, wire_size).unwrap_or(0);
            guest.write_u32(size, bytes)
        })
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |caller: Caller<'_, HostState>, map: u32, address: u32, size: u32| {
            hostcall(caller, |guest| get_pairs(guest, map.try_into()?, address, size))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |caller: Caller<'_, HostState>, map: u32, key: u32, key_size: u32, address: u32, size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let value = host.header(map.try_into()?, memory.bytes(key, key_size)?).ok_or(Status::NotFound)?;
                guest.give(value.as_bytes(), address, size)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_header_map_pairs",
        |caller: Caller<'_, HostState>, map: u32, data: u32, size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let pairs = pairs::decode(memory.bytes(data, size)?).map_err(|_| Status::BadArgument)?;
                host.set_pairs(map.try_into()?, &pairs);
                Ok(())
            })
        },
    )?;
    for (name, write) in
        [("proxy_add_header_map_value", Write::Add), ("proxy_replace_header_map_value", Write::Replace)]
    {
        linker.func_wrap(
            "env",
            name,
            move |caller: Caller<'_, HostState>, map: u32, key: u32, key_size: u32, value: u32, value_size: u32| {
                hostcall(caller, |guest| {
                    let (memory, host) = guest.split();
                    host.set_header(
                        map.try_into()?,
                        write,
                        memory.bytes(key, key_size)?,
                        memory.bytes(value, value_size)?,
                    );
                    Ok(())
                })
            },
        )?;
    }
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |caller: Caller<'_, HostState>, map: u32, key: u32, key_size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let map = map.try_into()?;
                let key = alias(map, memory.bytes(key, key_size)?);
                host.decide(map, Name::parse(key).as_ref());
                host.edit_map(map, |headers| headers.retain(|field| !is_named(field, key)));
                Ok(())
            })
        },
    )?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Write {
    Add,
    Replace,
}

/// A guest's allocator cannot change the map, so it is serialised once, into a buffer that is kept.
fn get_pairs(guest: &mut Guest<'_>, map: Map, address: u32, size: u32) -> Answer {
    let host = guest.host();
    let mut bytes = std::mem::take(&mut host.scratch);
    bytes.clear();
    host.with_map(map, |headers| {
        pairs::encode(headers.iter().map(|field| (field.name.as_str().as_bytes(), field.value.as_bytes())), &mut bytes);
    });
    let answer = guest.give(&bytes, address, size);
    guest.host().scratch = bytes;
    answer
}

/// Bytes of names and values, as Envoy counts them.
fn wire_size(headers: &Headers) -> u32 {
    let bytes: usize = headers.iter().map(|field| field.name.as_str().len() + field.value.len()).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Whether a map may take one more field. What is beyond is dropped: no peer would take it.
fn has_room(headers: &Headers, field: &Field) -> bool {
    headers.len() < MAP_FIELDS
        && (field.value.len() <= LONG_VALUE
            || wire_size(headers).try_into().unwrap_or(usize::MAX).saturating_add(field.value.len()) <= MAP_BYTES)
}

/// A request has no `host` beside its `:authority`.
fn alias(map: Map, key: &[u8]) -> &[u8] {
    if map == Map::Headers(Direction::Request) && key.eq_ignore_ascii_case(b"host") { b":authority" } else { key }
}

fn is_named(field: &Field, key: &[u8]) -> bool {
    field.name.as_str().as_bytes().eq_ignore_ascii_case(key)
}

/// A field that may stand in that map, or `None`.
fn parse(map: Map, key: &[u8], value: &[u8]) -> Option<Field> {
    let name = Name::parse(alias(map, key))?;
    let fits = match name {
        Name::Method | Name::Scheme | Name::Authority | Name::Path => map == Map::Headers(Direction::Request),
        Name::Status => map == Map::Headers(Direction::Response),
        Name::Header(_) => true,
    };
    fits.then_some(())?;
    Some(Field { name, value: HeaderValue::from_bytes(value).ok()? })
}

impl HostState {
    /// Reads a map; `None` when there is none (yet).
    pub(super) fn with_map<R>(&self, map: Map, read: impl FnOnce(&Headers) -> R) -> Option<R> {
        match map {
            Map::Headers(direction) => Some(read(&*self.stage()?.exchange().headers(direction)?)),
            Map::Trailers(direction) => Some(read(&*self.stage()?.exchange().trailers(direction)?)),
            _ => match (map, self.answer.as_ref()?) {
                (Map::CallHeaders, Incoming::Http(answer)) => Some(read(&answer.headers)),
                (Map::CallTrailers, Incoming::Http(answer)) => Some(read(&answer.trailers)),
                (Map::GrpcInitialMetadata, Incoming::Grpc(GrpcEvent::InitialMetadata(fields)))
                | (Map::GrpcTrailingMetadata, Incoming::Grpc(GrpcEvent::TrailingMetadata(fields))) => {
                    Some(read(fields))
                }
                _ => None,
            },
        }
    }
    /// The fields of one name as pairs; nothing when there is no such map (yet).
    pub(super) fn fields(&self, map: Map, key: &[u8]) -> Vec<u8> {
        let key = alias(map, key);
        let mut pairs = Vec::new();
        self.with_map(map, |headers| {
            let fields = headers.iter().filter(|field| is_named(field, key));
            pairs::encode(fields.map(|field| (field.name.as_str().as_bytes(), field.value.as_bytes())), &mut pairs);
        });
        pairs
    }
    /// A field's value. Several are joined as RFC 9110 §5.3 says, so that a check of the value sees all of them; of
    /// `set-cookie`, which cannot be joined, the first.
    pub(super) fn header(&self, map: Map, key: &[u8]) -> Option<HeaderValue> {
        let key = alias(map, key);
        self.with_map(map, |headers| {
            let mut fields = headers.iter().filter(|field| is_named(field, key));
            let first = fields.next()?;
            if first.name == Name::Header(http::header::SET_COOKIE) {
                return Some(first.value.clone());
            }
            let Some(second) = fields.next() else { return Some(first.value.clone()) };
            let mut joined = first.value.as_bytes().to_vec();
            for field in std::iter::once(second).chain(fields) {
                joined.extend_from_slice(b", ");
                joined.extend_from_slice(field.value.as_bytes());
            }
            HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok()
        })?
    }
    fn set_header(&mut self, map: Map, write: Write, key: &[u8], value: &[u8]) {
        let Some(field) = parse(map, key, value) else { return self.dropped_field(key) };
        self.decide(map, Some(&field.name));
        self.edit_map(map, |headers| {
            if !has_room(headers, &field) {
                return;
            }
            // There is one of each pseudo header, whatever a guest adds.
            if write == Write::Add && !field.name.is_pseudo() {
                headers.append(field.name, field.value);
            } else {
                headers.set(field.name, field.value);
            }
        });
    }
    /// Replaces a whole map. Pseudo headers that a guest leaves out stay as they are.
    fn set_pairs(&mut self, map: Map, pairs: &[Pair<'_>]) {
        let mut fields: Vec<Field> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            match parse(map, key, value) {
                Some(field) => fields.push(field),
                None => self.dropped_field(key),
            }
        }
        self.with_map(map, |headers| {
            headers.iter().chain(&fields).for_each(|field| self.decide(map, Some(&field.name)));
        });
        self.edit_map(map, |headers| {
            let pseudo = |field: &&Field| field.name.is_pseudo();
            let kept =
                headers.iter().filter(pseudo).filter(|old| fields.iter().all(|new| new.name != old.name)).cloned();
            *headers = kept
                .chain(fields.iter().filter(pseudo).cloned())
                .chain(fields.iter().filter(|field| !pseudo(field)).cloned())
                .collect();
        });
    }
    /// What a filter decides about a field of the request's head holds for the trailers, too.
    fn decide(&self, map: Map, name: Option<&Name>) {
        if let (Map::Headers(Direction::Request), Some(stage), Some(name)) = (map, self.stage(), name) {
            stage.decide(name);
        }
    }
    fn edit_map(&self, map: Map, edit: impl FnOnce(&mut Headers)) {
        let done = match (map, self.stage()) {
            (Map::Headers(direction), Some(stage)) => stage.edit_headers(direction, edit),
            (Map::Trailers(direction), Some(stage)) => stage.edit_trailers(direction, edit),
            _ => false,
        };
        if !done {
            self.late_write("a header map");
        }
    }
    fn dropped_field(&mut self, key: &[u8]) {
        if !self.log.may_warn() {
            return;
        }
        let name = crate::wasm::log::printable(key, 64);
        tracing::warn!(
            filter = &*self.spec().name,
            name = &*name,
            "A filter wrote a header that is not legal here; it was dropped."
        );
    }
}
