//! Fuzz target of the stream's properties.

use std::rc::Rc;
use std::sync::OnceLock;

use crate::wasm::FilterSpec;
use crate::wasm::host_state::{Effective, HostState, Purpose, Subject};
use crate::wasm::limits::{PROPERTIES, PROPERTY_BYTES};
use crate::wasm::testing::guest::Guest;
use crate::wasm::testing::host;
use crate::wasm::testing::stage::{Bench, Talk, spec};

/// Any paths and values, each after a byte that says how long it is, set as properties of a stream and read back: what the
/// gateway itself knows is never hidden by what was set, all of it stays within its bounds, and the neighbouring stream sees
/// nothing of it.
pub(crate) fn properties(input: &[u8]) {
    static SPEC: OnceLock<FilterSpec> = OnceLock::new();
    let spec = SPEC.get_or_init(|| spec(&Guest::new().on("proxy_on_log", "")));
    let bench = Bench::with(spec.clone());
    let (talk, neighbour) = (bench.exchange(), bench.exchange());
    for talk in [&talk, &neighbour] {
        talk.request(&[("user-agent", "curl"), ("x-a", "1")], &[]);
        talk.response(&[("x-b", "2")], &["body"]);
    }
    let mut host = on(&talk, spec);
    let mut other = on(&neighbour, spec);
    let mut rest = input;
    while let (Some(path), Some(value)) = (take(&mut rest), take(&mut rest)) {
        let (before, elsewhere) = (host.property(path), other.property(path));
        let (size, count) = talk.chain.exchange().properties.size();
        host.set_property(path, value);
        let after = host.property(path);
        let has_room = count < PROPERTIES && size + path.len() + value.len() <= PROPERTY_BYTES;
        if elsewhere.is_some() {
            assert_eq!(before, after, "a property of the gateway was hidden by a filter's");
        } else if has_room {
            assert_eq!(after.as_deref(), Some(value), "what was set is not what is read");
        }
        assert_eq!(elsewhere, other.property(path), "another stream sees it");
    }
    let (size, count) = talk.chain.exchange().properties.size();
    assert!(size <= PROPERTY_BYTES && count <= PROPERTIES, "{count} properties of {size} bytes");
    for host in [&mut host, &mut other] {
        host.effective = Effective::Root(Rc::clone(host.roots.first()));
    }
}

/// What hostcalls work on, in the middle of that exchange.
fn on(talk: &Talk, spec: &FilterSpec) -> HostState {
    let mut host = host(spec, Purpose::Serve);
    let root = Rc::clone(host.roots.first());
    let stream = host.open_stream(&root, Subject::Request(talk.chain.exchange().stage(0))).expect("an id");
    host.effective = Effective::Stream(stream);
    host
}

/// A piece after its length.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, bytes) = rest.split_first()?;
    let (piece, later) = bytes.split_at(usize::from(*length).min(bytes.len()));
    *rest = later;
    Some(piece)
}
