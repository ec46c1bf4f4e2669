//! Compiles packages of this workspace to `wasm32-wasip1` from a build script.
//!
//! The nested cargo gets a target directory of its own, shared by all profiles, so that it never waits for the lock of
//! the cargo that runs the build script.

use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip1";
const PROFILE: &str = "plugin";

/// Runs one nested `cargo build` with the given selection of packages and returns the folder that holds the modules.
pub(crate) fn compile(workspace: &Path, selection: &[&str]) -> Result<PathBuf, String> {
    let target_dir = target_dir()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--target", TARGET, "--profile", PROFILE])
        .args(selection)
        .arg("--target-dir")
        .arg(&target_dir);
    // What the outer cargo says about its own build (flags, wrappers, features) must not reach the inner one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let inherited = ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL"];
        let foreign = text.starts_with("CARGO") || text.starts_with("RUSTFLAGS") || text.starts_with("CLIPPY_");
        let wrapper = text == "RUSTC" || text == "RUSTC_WRAPPER" || text == "RUSTC_WORKSPACE_WRAPPER";
        if (foreign && !inherited.contains(&text.as_ref())) || wrapper {
            command.env_remove(&name);
        }
    }
    let output = command.output().map_err(|error| format!("cargo did not start: {error}"))?;
    if output.status.success() {
        return Ok(target_dir.join(TARGET).join(PROFILE));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let hint = if stderr.contains("can't find crate for `core`") || stderr.contains("target may not be installed") {
        "\nThe compilation target is missing. Install it with: rustup target add wasm32-wasip1"
    } else {
        ""
    };
    Err(format!("the filters do not compile to {TARGET}:\n{stderr}{hint}"))
}

/// Tells cargo to run the build script again when one of these paths of the workspace changes.
pub(crate) fn rerun_if_changed(workspace: &Path, paths: &[&str]) {
    for path in paths {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
}

/// `target/plugins` beside the profiles' own folders: `OUT_DIR` is `target/PROFILE/build/PACKAGE/out`.
fn target_dir() -> Result<PathBuf, String> {
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    let target = out.ancestors().nth(4).ok_or("OUT_DIR has an unexpected shape")?;
    Ok(target.join("plugins"))
}
