//! Compiles the filters that tests use to wasm and names their files: `guests.rs` in the output directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "A build script speaks by failing and printing."
)]

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Package, constant, what it is.
const GUESTS: [(&str, &str, &str); 5] = [
    ("sluicegate-guest", "SCRIPT", "The filter that does what its configuration says."),
    ("sluicegate-guest-tcp", "TCP_SCRIPT", "The same for TCP connections."),
    ("hello", "HELLO", "The example `hello`."),
    ("enrich", "ENRICH", "The example `enrich`."),
    ("edit-json", "EDIT_JSON", "The example `edit-json`."),
];

/// What decides about the modules, seen from this package.
const SOURCES: [&str; 9] = [
    "guest",
    "guest-tcp",
    "../examples/hello",
    "../examples/enrich",
    "../examples/edit-json",
    "../sdk/src",
    "../sdk/macros/src",
    "../Cargo.toml",
    "../Cargo.lock",
];

fn main() {
    let output = env::var("OUT_DIR").unwrap();
    let target = Path::new(&output).join("wasm");
    let mut cargo = Command::new(env::var("CARGO").unwrap());
    cargo.args(["build", "--profile", "plugin", "--target", "wasm32-wasip1", "--target-dir"]).arg(&target);
    for (package, ..) in GUESTS {
        cargo.args(["--package", package]);
    }
    // What the outer build was told about the machine's own target must not reach the modules.
    for name in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(name);
    }
    assert!(cargo.status().expect("cargo runs").success(), "the filters for tests do not compile to wasm32-wasip1");

    let mut constants = String::new();
    for (package, name, what) in GUESTS {
        let file = target.join("wasm32-wasip1/plugin").join(format!("{}.wasm", package.replace('-', "_")));
        assert!(file.exists(), "{} was not built", file.display());
        writeln!(constants, "/// {what}\npub const {name}: &str = {:?};", file.display().to_string()).unwrap();
    }
    std::fs::write(Path::new(&output).join("guests.rs"), constants).unwrap();
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
}
