//! What tests and fuzz targets of the host stand on: guests written as text, and a worker on which they play.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "It fails by panicking, as tests do.")]
#![cfg_attr(not(test), allow(dead_code, reason = "Fuzz targets use a part of it."))]

pub(super) mod guest;
pub(super) mod stage;

use std::rc::{Rc, Weak};
use std::sync::{Arc, OnceLock};

use super::host_state::{HostState, Purpose};
use super::{Engine, FilterSpec, VmSpec, callouts};
use crate::filter::Callouts;
use crate::state::State;

/// One engine for all tests, as in the process.
pub(super) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().expect("the engine starts"))
}

/// Proves an entry alone; else gives the reason.
pub(super) fn canary(spec: &FilterSpec, state: &Arc<State>) -> Result<(), String> {
    let vm = VmSpec::new(Arc::new(spec.clone()));
    super::canary(&vm, state).map_err(|failed| failed.detail)
}

/// What hostcalls work on in an instance of that entry alone, which nothing reaches.
pub(super) fn host(spec: &FilterSpec, purpose: Purpose) -> HostState {
    let callouts: Rc<dyn Callouts> = Rc::new(callouts::Unanswered);
    let roots = VmSpec::new(Arc::new(spec.clone())).roots(|_| Rc::clone(&callouts));
    HostState::new(roots, Arc::default(), purpose, Weak::new())
}
