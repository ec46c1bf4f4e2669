//! Sample services and the gateway in front of them, in one command: `cargo run --release -p demo`.
//!
//! The services run in this process; the gateway is a process of its own, started from this very executable, with the
//! repository's `gateway.json`, which finds the services' ports in its environment.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "What the demo has to say is for the person who started it."
)]

mod services;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};

/// Set in the gateway's own process: run the gateway's command line instead of the demo.
const AS_GATEWAY: &str = "SLUICEGATE_DEMO_GATEWAY";
/// Where the demo would like to listen; the kernel chooses when it is taken.
const LISTEN: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9901";

fn main() -> ExitCode {
    if std::env::var_os(AS_GATEWAY).is_some() {
        return sluicegate::cli::main();
    }
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let services = runtime.block_on(services::start())?;
    let mut gateway = start_gateway(&services)?;
    runtime.spawn(pass_on_signals(Pid::from_child(&gateway)));
    let stdout = gateway.stdout.take().context("the gateway has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut address = None;
    for line in lines.by_ref() {
        let line = line?;
        println!("{line}");
        if let Some(found) = line.strip_prefix("listening ") {
            address = Some(found.to_owned());
        }
        if line == "ready" {
            break;
        }
    }
    let Some(address) = address else { bail!("the gateway did not start: {}", gateway.wait()?) };
    println!("{}", tour(&address));
    // What the gateway prints from now on are access records.
    for line in lines {
        println!("{}", line?);
    }
    let status = gateway.wait()?;
    if status.success() { Ok(()) } else { bail!("the gateway ended: {status}") }
}

/// Ends the gateway, by its own way of ending, when the demo is told to end: once gently, a second time at once.
async fn pass_on_signals(gateway: Pid) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if rustix::process::kill_process(gateway, Signal::TERM).is_err() {
            return;
        }
    }
}

fn start_gateway(services: &[services::Service]) -> Result<Child> {
    let config = repository().join("gateway.json");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg("--config").arg(&config).env(AS_GATEWAY, "1").stdout(Stdio::piped());
    command.env("SLUICEGATE_LISTEN", free_or_any(LISTEN)).env("SLUICEGATE_ADMIN", free_or_any(ADMIN));
    for service in services {
        println!("service   {:<10} http://127.0.0.1:{}", service.name, service.port);
        command.env(format!("{}_PORT", service.name.to_uppercase()), service.port.to_string());
    }
    // In a group of its own: what the terminal sends reaches the demo alone, which passes it on once.
    command.process_group(0).spawn().context("the gateway does not start")
}

/// The address when nobody listens there, else one with a port of the kernel's choice.
fn free_or_any(address: &str) -> &str {
    if std::net::TcpListener::bind(address).is_ok() { address } else { "127.0.0.1:0" }
}

/// The repository is two folders above this package.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Six things to try, one line each.
fn tour(address: &str) -> String {
    format!(
        r#"
Try, in another terminal:

1. A routed call, with a key:
   curl -i {address}/users/1 -H 'x-api-key: demo'
2. The same without one, a 401:
   curl -i {address}/users/1
3. More than five orders in ten seconds, a 429:
   for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\n' {address}/orders; done
4. A browser's question before a call from another site, a CORS preflight:
   curl -i -X OPTIONS {address}/users/1 -H 'origin: https://app.example' -H 'access-control-request-method: GET'
5. A body changed on its way: the supplier's price is gone, a currency is there:
   curl -s {address}/inventory/7
6. A swap: edit gateway.json while it serves, and the next request sees it (the log shows one line for the swap):
   sed -i 's/hello from the first version/hello from the second version/' gateway.json && sleep 1 && curl -s {address}/echo

Stop with Ctrl-C.
"#
    )
}
