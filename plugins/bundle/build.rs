//! Compiles the first-party filters to WebAssembly and writes the table of their bytes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

mod compile;

/// Plugin names, in the order of the table.
const PLUGINS: [&str; 5] = ["auth", "cors", "log", "rate-limit", "transform"];

fn main() {
    println!("cargo:rerun-if-changed=compile.rs");
    println!("cargo:rerun-if-changed=build.rs");
    if let Err(error) = bundle() {
        println!("cargo:warning={}", error.replace('\n', "\ncargo:warning="));
        std::process::exit(1);
    }
}

fn bundle() -> Result<(), String> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or("CARGO_MANIFEST_DIR is not set")?;
    let workspace = here.ancestors().nth(2).ok_or("the bundle is two folders below the workspace")?;
    let mut watched = vec!["Cargo.toml".to_owned(), "Cargo.lock".to_owned(), "sdk".to_owned()];
    watched.extend(PLUGINS.iter().map(|plugin| format!("plugins/{plugin}")));
    compile::rerun_if_changed(workspace, &watched.iter().map(String::as_str).collect::<Vec<_>>());

    let packages: Vec<String> = PLUGINS.iter().map(|plugin| format!("--package=sluicegate-plugin-{plugin}")).collect();
    let modules = compile::compile(workspace, &packages.iter().map(String::as_str).collect::<Vec<_>>())?;
    write_table(&modules)
}

fn write_table(modules: &Path) -> Result<(), String> {
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    let mut table = String::from("&[\n");
    for plugin in PLUGINS {
        let file = format!("{}.wasm", plugin.replace('-', "_"));
        // A copy in OUT_DIR: another profile's build may replace the shared one at any time.
        let copy = out.join(&file);
        std::fs::copy(modules.join(&file), &copy).map_err(|error| format!("{file}: {error}"))?;
        writeln!(table, "    ({plugin:?}, include_bytes!({:?})),", copy.display().to_string())
            .map_err(|error| error.to_string())?;
    }
    table.push(']');
    std::fs::write(out.join("table.rs"), table).map_err(|error| format!("table.rs: {error}"))
}
