//! The `sluicegate` binary: parse arguments, call one verb.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Requests allocate often and little, on one thread each; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    sluicegate::cli::main()
}
