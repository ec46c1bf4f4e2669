//! What the kernel says about a process: memory, CPU time, and signals to it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Resident memory, bytes.
///
/// # Panics
/// There is no such process.
#[must_use]
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// How many files are open: connections, listeners and watches are among them.
///
/// # Panics
/// There is no such process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}

/// How many files this process, and those that it starts, may have open.
///
/// # Panics
/// The kernel does not tell.
#[must_use]
pub fn most_descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("a process has limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit of open files");
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX)
}

/// The most resident memory since the start, or since [`forget_peak`], bytes.
///
/// # Panics
/// There is no such process.
#[must_use]
pub fn peak(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// Lets [`peak`] begin anew.
///
/// # Panics
/// The process belongs to somebody else.
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
}

fn memory(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with(what)).expect("a process has memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|field| field.parse().ok()).expect("a number of kB");
    kib * 1024
}

/// Time on a CPU of all threads of the processes so far.
///
/// # Panics
/// The kernel does not account for it.
#[must_use]
pub fn cpu_time(pids: &[u32]) -> Duration {
    let mut nanos = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").flatten() {
            // A thread may end between the two looks.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanos += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

/// A process and everything that it started.
#[must_use]
pub fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|field| field.parse().ok()) {
        all.extend(tree(child));
    }
    all
}

/// Sends a signal, by name: `TERM`, `HUP`.
///
/// # Panics
/// There is no such process.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.is_ok_and(|status| status.success()), "the process {pid} takes signal {name}");
}

/// A command that runs on one core, if one is named.
#[must_use]
pub fn pinned(binary: &Path, core: Option<usize>) -> Command {
    match core {
        None => Command::new(binary),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(binary);
            command
        }
    }
}

/// An address that nobody has, for programs that cannot be asked where they listen.
///
/// # Panics
/// The kernel has no port.
#[must_use]
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the kernel has a port");
    listener.local_addr().expect("it is bound")
}
