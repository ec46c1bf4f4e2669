//! Sluicegate: an API gateway whose every decision is made by sandboxed WebAssembly filters.
//!
//! A small native host moves the bytes; an ordered chain of Proxy-Wasm filters decides. A request's way through the
//! modules: `listener` → `proxy` → { `route`, `filter` ← `wasm`, `upstream` }; `gateway` builds them all from a `config`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod cork;
#[cfg(test)]
mod cost;
pub mod filter;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod gateway;
pub mod listener;
pub mod observe;
pub mod proxy;
pub mod route;
pub mod state;
pub mod upstream;
pub mod wasm;
