//! Fuzz target of the plugin loader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wasm::FilterSpec;
use crate::wasm::testing::guest::Guest;
use crate::wasm::testing::stage::spec;
use crate::wasm::testing::{canary, engine};

/// Compiling what a target is fed (some kilobytes) takes milliseconds. This is no measurement but the line beyond which it must
/// be taken for endless.
const ENDLESS: Duration = Duration::from_secs(20);
/// Bytes of a message to the operator.
const MESSAGE_BYTES: usize = 8 << 10;

/// Any bytes as a module: refused in one line, or loaded; then it starts, or says in one line why it does not.
pub(crate) fn modules(input: &[u8]) {
    thread_local! {
        static SPEC: FilterSpec = spec(&Guest::new().on("proxy_on_log", ""));
    }
    let started = Instant::now();
    let loaded = engine().load("any", input);
    assert!(started.elapsed() < ENDLESS, "{} bytes take {:?}", input.len(), started.elapsed());
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(error) => return check_message(&error.to_string()),
    };
    for warning in &plugin.warnings {
        check_message(warning);
    }
    let spec = FilterSpec { plugin: Arc::new(plugin), ..SPEC.with(Clone::clone) };
    if let Err(text) = canary(&spec, &Arc::default()) {
        assert!(!text.contains("the host panicked"), "{text}");
        assert!(!text.is_empty());
    }
}

/// A message says something, and not all that the module says.
fn check_message(text: &str) {
    assert!(!text.is_empty());
    assert!(text.len() <= MESSAGE_BYTES, "a message of {} bytes", text.len());
}
