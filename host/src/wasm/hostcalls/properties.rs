//! Properties of the stream, the connection and the plugin, under Envoy's names and in Envoy's encodings: strings as
//! they are, integers and durations as 8 bytes little-endian (durations and times in nanoseconds), truth values as one
//! byte, maps as pairs.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::clock::unix_nanos;
use super::foreign_envoy::filter_state;
use super::{Map, Status, hostcall};
use crate::address::Address;
use crate::filter::exchange::{ConnectionFacts, Exchange, Progress};
use crate::filter::properties::Properties;
use crate::filter::tcp::TcpConnection;
use crate::filter::{Direction, Headers, Name};
use crate::wasm::host_state::HostState;
use crate::wasm::limits::{PROPERTIES, PROPERTY_BYTES};
use crate::wasm::pairs;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |caller: Caller<'_, HostState>, path: u32, path_size: u32, address: u32, size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let value = host.property(memory.bytes(path, path_size)?).ok_or(Status::NotFound)?;
                guest.give(&value, address, size)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |caller: Caller<'_, HostState>, path: u32, path_size: u32, value: u32, value_size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                host.set_property(memory.bytes(path, path_size)?, memory.bytes(value, value_size)?);
                Ok(())
            })
        },
    )?;
    Ok(())
}

/// Some SDKs end a path with NUL.
fn trim(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"\0").unwrap_or(path)
}

impl HostState {
    pub(in crate::wasm) fn property(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = trim(path);
        let known = std::str::from_utf8(path).ok().and_then(|text| {
            let (head, tail) = text.split_once('\0').unwrap_or((text, ""));
            self.known_property(head, tail)
        });
        let set = || self.property_set(path).or_else(|| filter_state(self, path));
        known.or_else(|| Some(set()?.to_vec()))
    }
    fn known_property(&self, head: &str, tail: &str) -> Option<Vec<u8>> {
        match (head, tail) {
            ("plugin_name", "") => return Some(self.spec().name.as_bytes().to_vec()),
            // C++ modules choose a root context by this name; the unnamed one is what they register by default.
            ("plugin_root_id", "") => return Some(self.spec().vm.root_id.as_bytes().to_vec()),
            ("plugin_vm_id", "") => return Some(self.vm_id().as_bytes().to_vec()),
            ("plugin_vm_memory", "") => return number(self.memory_limit.size()),
            _ => {}
        }
        if let Some(stage) = self.tcp() {
            return tcp_property(stage.connection(), head, tail);
        }
        let exchange = self.stage()?.exchange();
        let facts = &exchange.facts;
        match (head, tail) {
            ("request", name) => self.request_property(exchange, name),
            ("response", name) => self.response_property(exchange, name),
            ("source", name) => end(&facts.connection.remote, name),
            ("destination", name) => end(&facts.connection.local, name),
            ("connection", name) => connection(&facts.connection, name),
            ("upstream", "path") => Some(exchange.progress.borrow().upstream_path.as_ref()?.to_vec()),
            ("upstream", name) => address(exchange.progress.borrow().upstream_address?, name),
            ("route_name", "") | ("xds", "route_name") => Some(exchange.route().as_bytes().to_vec()),
            ("cluster_name", "") | ("xds", "cluster_name") => Some(exchange.upstream().as_bytes().to_vec()),
            _ => None,
        }
    }
    fn request_property(&self, exchange: &Exchange, name: &str) -> Option<Vec<u8>> {
        let facts = &exchange.facts;
        let head = exchange.headers(Direction::Request);
        let field = |name: &Name| Some(head.as_ref()?.get(name)?.as_bytes().to_vec());
        let path = || field(&Name::Path);
        match name {
            "path" => path(),
            "original_path" => {
                let original = exchange.progress.borrow().original_path.clone();
                original.map(|path| path.as_bytes().to_vec()).or_else(path)
            }
            "url_path" => path().map(|path| path.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec()),
            "query" => path().map(|path| path.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default().to_vec()),
            "host" => field(&Name::Authority),
            "scheme" => field(&Name::Scheme),
            "method" => field(&Name::Method),
            "referer" => field(&Name::Header(http::header::REFERER)),
            "useragent" => field(&Name::Header(http::header::USER_AGENT)),
            "id" => Some(facts.request_id.as_bytes().to_vec()),
            "protocol" => Some(facts.protocol.as_bytes().to_vec()),
            "time" => number(unix_nanos(facts.time)),
            "duration" => duration(exchange.progress.borrow().duration?),
            "size" => number(exchange.progress.borrow().request_size),
            "total_size" => total(head.as_deref(), exchange.progress.borrow().request_size),
            "headers" => head.as_deref().map(map),
            _ => self.field(Map::Headers(Direction::Request), name.strip_prefix("headers\0")?),
        }
    }
    fn response_property(&self, exchange: &Exchange, name: &str) -> Option<Vec<u8>> {
        let progress = || -> std::cell::Ref<'_, Progress> { exchange.progress.borrow() };
        let head = exchange.headers(Direction::Response);
        match name {
            // What the client was sent, when that is known already.
            "code" => match progress().status {
                Some(status) => number(status),
                None => number(head.as_ref()?.get(&Name::Status)?.to_str().ok()?.parse::<u64>().ok()?),
            },
            "code_details" => Some(progress().details.clone()?.into_bytes()),
            "flags" => number(0_u64),
            "grpc_status" => {
                let status = |map| self.header(map, b"grpc-status")?.to_str().ok()?.parse::<u64>().ok();
                number(
                    status(Map::Trailers(Direction::Response)).or_else(|| status(Map::Headers(Direction::Response)))?,
                )
            }
            "backend_latency" => duration(progress().backend_latency?),
            "size" => number(progress().response_size),
            "total_size" => total(head.as_deref(), progress().response_size),
            "headers" => head.as_deref().map(map),
            "trailers" => exchange.trailers(Direction::Response).as_deref().map(map),
            _ => match name.split_once('\0')? {
                ("headers", name) => self.field(Map::Headers(Direction::Response), name),
                ("trailers", name) => self.field(Map::Trailers(Direction::Response), name),
                _ => None,
            },
        }
    }
    fn field(&self, map: Map, name: &str) -> Option<Vec<u8>> {
        Some(self.header(map, name.as_bytes())?.as_bytes().to_vec())
    }
    /// Sets a property of the stream. What passes the bounds, and what has no stream, is ignored (SDKs panic on a
    /// refusal) and logged.
    pub(in crate::wasm) fn set_property(&self, path: &[u8], value: &[u8]) {
        let Some(properties) = self.set_properties() else {
            tracing::debug!(filter = &*self.spec().name, "A property was set outside a stream; it was ignored.");
            return;
        };
        let (bytes, count) = properties.size();
        if count >= PROPERTIES || bytes + path.len() + value.len() > PROPERTY_BYTES {
            tracing::warn!(filter = &*self.spec().name, "A stream has too many properties; one was not set.");
            return;
        }
        properties.set(trim(path), Bytes::copy_from_slice(value));
    }
    /// What a filter of this request, or connection, has set.
    pub(super) fn property_set(&self, path: &[u8]) -> Option<Bytes> {
        self.set_properties()?.get(path)
    }
    /// What filters of this request, or connection, have set.
    fn set_properties(&self) -> Option<&Properties> {
        match (self.stage(), self.tcp()) {
            (Some(stage), _) => Some(&stage.exchange().properties),
            (None, stage) => Some(&stage?.connection().properties),
        }
    }
}

fn number(value: impl TryInto<u64>) -> Option<Vec<u8>> {
    Some(value.try_into().ok()?.to_le_bytes().to_vec())
}

fn duration(duration: Duration) -> Option<Vec<u8>> {
    number(duration.as_nanos())
}

/// Body and head, as far as we know it.
fn total(head: Option<&Headers>, body: u64) -> Option<Vec<u8>> {
    let head: usize = head?.iter().map(|field| field.name.as_str().len() + field.value.len()).sum();
    number(u64::try_from(head).ok()?.saturating_add(body))
}

fn map(headers: &Headers) -> Vec<u8> {
    let mut bytes = Vec::new();
    pairs::encode(headers.iter().map(|field| (field.name.as_str().as_bytes(), field.value.as_bytes())), &mut bytes);
    bytes
}

/// An end of the client's connection; a Unix socket has no port.
fn end(end: &Address, name: &str) -> Option<Vec<u8>> {
    match end {
        Address::Ip(end) => address(*end, name),
        Address::Unix(_) => (name == "address").then(|| end.to_string().into_bytes()),
    }
}

fn address(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
    match name {
        "address" => Some(address.to_string().into_bytes()),
        "port" => number(address.port()),
        _ => None,
    }
}

/// What there is to know of a TCP connection: everything but what a request has.
fn tcp_property(connection_of: &TcpConnection, head: &str, tail: &str) -> Option<Vec<u8>> {
    let facts = &connection_of.facts;
    match (head, tail) {
        ("source", name) => end(&facts.connection.remote, name),
        ("destination", name) => end(&facts.connection.local, name),
        ("connection", name) => connection(&facts.connection, name),
        ("upstream", name) => address(connection_of.upstream_address.get()?, name),
        ("cluster_name", "") | ("xds", "cluster_name") => Some(facts.upstream.as_bytes().to_vec()),
        _ => None,
    }
}

fn connection(facts: &ConnectionFacts, name: &str) -> Option<Vec<u8>> {
    let tls = facts.tls.as_ref();
    match name {
        "id" => return number(facts.id),
        "mtls" => return Some(vec![u8::from(tls.is_some_and(|tls| tls.peer.is_some()))]),
        _ => {}
    }
    let tls = tls?;
    let text = match name {
        "requested_server_name" => tls.server_name.as_deref()?,
        "tls_version" => tls.version,
        "subject_local_certificate" => tls.local.as_ref()?.subject.as_deref()?,
        "dns_san_local_certificate" => tls.local.as_ref()?.dns.as_deref()?,
        "uri_san_local_certificate" => tls.local.as_ref()?.uri.as_deref()?,
        "subject_peer_certificate" => tls.peer.as_ref()?.subject.as_deref()?,
        "dns_san_peer_certificate" => tls.peer.as_ref()?.dns.as_deref()?,
        "uri_san_peer_certificate" => tls.peer.as_ref()?.uri.as_deref()?,
        "sha256_peer_certificate_digest" => &tls.peer.as_ref()?.sha256,
        _ => return None,
    };
    Some(text.as_bytes().to_vec())
}
