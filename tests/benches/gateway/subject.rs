//! What is measured: a gateway with a chain, started and seen to work.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::envoy::{Envoy, Setup, WasmFilter};
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{Site, process};
use tokio::net::TcpStream;

use crate::chains::Chain;
use crate::measure;
use crate::nginx::Nginx;

/// One of the gateways that are compared.
pub(crate) struct Subject {
    /// Which one.
    pub(crate) kind: Kind,
    /// What its requests pass.
    pub(crate) chain: Chain,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) pid: u32,
    /// Keeps it running, and ends it.
    _running: Box<dyn Any>,
}

/// Which program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gateway,
    Nginx,
    Envoy,
}

impl Kind {
    /// How the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "sluicegate",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }
}

/// Our own program. Ended when dropped.
struct Ours {
    child: Child,
    _site: Site,
}

impl Drop for Ours {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Subject {
    /// The gateway. What it prints goes nowhere, as an access log of the peers would.
    pub(crate) async fn gateway(chain: Chain, backend: SocketAddr) -> Self {
        let filters = chain.filters();
        let entries: Vec<Value> = filters.iter().map(|(name, _, config)| entry(name, config)).collect();
        let address = process::free_address();
        let site = Site::new(&json!({
            "listeners": [{ "address": address }],
            "limits": { "workers": 1 },
            "upstreams": { "backend": { "targets": [format!("http://{backend}")] } },
            "routes": [{ "name": "all", "match": { "path": { "prefix": "/" } }, "filters": entries, "upstream": "backend" }],
        }));
        for (name, module, _) in filters {
            site.drop_in(name, module);
        }
        let mut command = site.command_on(Some(0), &["run", "-c", "gateway.json"]);
        let child = command.stdout(Stdio::null()).spawn().expect("the gateway starts");
        let pid = child.id();
        let running = Box::new(Ours { child, _site: site });
        Self { kind: Kind::Gateway, chain, address, pid, _running: running }.proven().await
    }
    /// nginx without anything.
    pub(crate) async fn nginx(backend: SocketAddr) -> Self {
        let nginx = Nginx::proxy(backend).await;
        let (address, pid) = (nginx.address, nginx.pid());
        Self { kind: Kind::Nginx, chain: Chain::None, address, pid, _running: Box::new(nginx) }.proven().await
    }
    /// Envoy with the same modules.
    pub(crate) async fn envoy(binary: &Path, chain: Chain, backend: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let filter = |(name, module, config): (&str, Vec<u8>, Value)| {
            let file = folder.path().join(name).with_extension("wasm");
            std::fs::write(&file, module).expect("there is room for a file");
            WasmFilter {
                name: name.to_owned(),
                file,
                config: if config.is_null() { String::new() } else { config.to_string() },
            }
        };
        let filters = chain.filters().into_iter().map(filter).collect();
        let setup = Setup {
            binary: binary.to_owned(),
            clusters: vec![("backend".to_owned(), backend)],
            http2_clusters: Vec::new(),
            chains: vec![filters],
            core: Some(0),
        };
        let envoy = Envoy::start(&setup).await;
        let (address, pid) = (envoy.address(), envoy.pid());
        Self { kind: Kind::Envoy, chain, address, pid, _running: Box::new((envoy, folder)) }.proven().await
    }
    /// Checks that requests pass and meet the chain, and stops the program until it is measured.
    async fn proven(self) -> Self {
        let address = self.address;
        eventually("the subject listens", || async move { TcpStream::connect(address).await.is_ok() }).await;
        let call = measure::HEADERS
            .iter()
            .fold(Call::new(address, Method::GET, "/bench"), |call, (name, value)| call.header(name, value));
        let response = call.header("authorization", &measure::authorization()).send().await;
        let what = format!("{} with {}", self.kind.name(), self.chain.name());
        assert_eq!(response.code(), 200, "{what}: {response:?}");
        assert!(
            self.chain.mark().is_none_or(|mark| response.has(mark)),
            "{what} does not run its filters: {response:?}"
        );
        self.signal("STOP");
        self
    }
    /// Sends a signal to all of its processes.
    pub(crate) fn signal(&self, name: &str) {
        for pid in process::tree(self.pid) {
            process::signal(pid, name);
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.signal("CONT");
    }
}

fn entry(name: &str, config: &Value) -> Value {
    let mut entry = json!({ "use": name });
    if !config.is_null() {
        entry["config"] = config.clone();
    }
    entry
}
