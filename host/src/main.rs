//! The `sluicegate` binary: parse arguments, call one verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluicegate::cli::main()
}
