//! What tests and fuzz targets of the host stand on: guests written as text, and a worker on which they play.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "It fails by panicking, as tests do.")]
#![cfg_attr(not(test), allow(dead_code, reason = "Fuzz targets use a part of it."))]

pub(super) mod guest;
pub(super) mod stage;

use std::sync::OnceLock;

use super::Engine;

/// One engine for all tests, as in the process.
pub(super) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().expect("the engine starts"))
}
