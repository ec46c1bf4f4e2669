//! Envoy with the same filters in front of the same origins, to compare with.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Call;
use crate::lines::Lines;
use crate::process;
use crate::wait::until;

/// One wasm filter of Envoy's chain.
pub struct WasmFilter {
    /// Its name.
    pub name: String,
    /// The module.
    pub file: PathBuf,
    /// The bytes for `proxy_on_configure`.
    pub config: String,
}

/// What an Envoy is started with.
pub struct Setup {
    /// The binary.
    pub binary: PathBuf,
    /// Clusters by name; the first one gets all requests.
    pub clusters: Vec<(String, SocketAddr)>,
    /// Further clusters, which speak HTTP/2.
    pub http2_clusters: Vec<(String, SocketAddr)>,
    /// The chains before the router, each on a listener of its own.
    pub chains: Vec<Vec<WasmFilter>>,
    /// The core to run on, if on one only.
    pub core: Option<usize>,
}

/// A running Envoy. Ended when dropped.
pub struct Envoy {
    child: Child,
    /// What it logged.
    pub log: Lines,
    addresses: Vec<SocketAddr>,
    /// Keeps its configuration.
    _folder: TempDir,
}

impl Envoy {
    /// Starts one with a single worker and waits until it listens.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(setup: &Setup) -> Self {
        Self::launch(&setup.binary, setup.core, &config(setup), setup.chains.len()).await
    }
    /// Starts one likewise, with all filters in VMs of that name; their own names are those of their root contexts.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_in_one_vm(setup: &Setup, vm_id: &str) -> Self {
        let mut config = config(setup);
        share_vm(&mut config, vm_id);
        Self::launch(&setup.binary, setup.core, &config, setup.chains.len()).await
    }
    /// Starts one that carries bytes to `origin`, through each chain on a listener of its own.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_tcp(binary: &Path, origin: SocketAddr, chains: &[Vec<WasmFilter>]) -> Self {
        let listeners = chains.iter().enumerate().map(|(number, chain)| {
            let mut filters: Vec<Value> = chain.iter().map(|filter| wasm_filter(filter, "network")).collect();
            filters.push(json!({
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": format!("{TYPES}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
                    "stat_prefix": "main", "cluster": "origin",
                },
            }));
            json!({ "name": number.to_string(), "address": socket("127.0.0.1", 0), "filter_chains": [{ "filters": filters }] })
        });
        let config = json!({
            "admin": { "address": socket("127.0.0.1", 0) },
            "static_resources": { "listeners": listeners.collect::<Vec<_>>(), "clusters": [cluster(&("origin".to_owned(), origin))] },
        });
        Self::launch(binary, None, &config, chains.len()).await
    }
    async fn launch(binary: &Path, core: Option<usize>, config: &Value, count: usize) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let file = folder.path().join("envoy.json");
        fs::write(&file, config.to_string()).expect("there is room for a file");
        let admin_file = folder.path().join("admin");
        let mut command = process::pinned(binary, core);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]);
        command
            .arg("--admin-address-path")
            .arg(&admin_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("Envoy starts");
        let log = Lines::read(child.stderr.take().expect("it is piped"));
        let mut envoy = Self { child, log, addresses: Vec::new(), _folder: folder };
        envoy.addresses = until("Envoy listens", || {
            let ended = envoy.child.try_wait().is_ok_and(|status| status.is_some());
            assert!(!ended, "Envoy did not start:\n{}", envoy.log.tail());
            let admin = fs::read_to_string(&admin_file).ok().and_then(|text| text.trim().parse().ok());
            async move { listeners(admin?).await.filter(|listeners| listeners.len() == count) }
        })
        .await;
        envoy
    }
    /// Where its first chain listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }
    /// Where each chain listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where the listeners are, in the order of their numbers, once all have a port.
async fn listeners(admin: SocketAddr) -> Option<Vec<SocketAddr>> {
    let response = Call::new(admin, Method::GET, "/listeners?format=json").try_send().await.ok()?;
    let status = serde_json::from_slice::<Value>(&response.body).ok()?;
    let one = |listener: &Value| {
        let number: usize = listener["name"].as_str()?.parse().ok()?;
        let port = u16::try_from(listener["local_address"]["socket_address"]["port_value"].as_u64()?).ok()?;
        (port != 0).then(|| (number, SocketAddr::from(([127, 0, 0, 1], port))))
    };
    let mut listeners: Vec<_> = status["listener_statuses"].as_array()?.iter().map(one).collect::<Option<_>>()?;
    listeners.sort_unstable();
    Some(listeners.into_iter().map(|(_, address)| address).collect())
}

const TYPES: &str = "type.googleapis.com/";

fn socket(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}

fn cluster((name, address): &(String, SocketAddr)) -> Value {
    let endpoint = json!({ "endpoint": { "address": socket(&address.ip().to_string(), address.port()) } });
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "5s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    })
}

fn config(setup: &Setup) -> Value {
    let http2 = |named: &(String, SocketAddr)| {
        let mut cluster = cluster(named);
        let options = json!({ "@type": format!("{TYPES}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config": { "http2_protocol_options": {} } });
        cluster["typed_extension_protocol_options"] =
            json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options });
        cluster
    };
    let clusters: Vec<Value> =
        setup.clusters.iter().map(cluster).chain(setup.http2_clusters.iter().map(http2)).collect();
    let listeners: Vec<Value> =
        setup.chains.iter().enumerate().map(|(number, chain)| listener(number, chain, &setup.clusters[0].0)).collect();
    json!({
        "admin": { "address": socket("127.0.0.1", 0) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// A listener whose requests pass a chain and all go to one cluster.
fn listener(number: usize, chain: &[WasmFilter], cluster: &str) -> Value {
    let mut filters: Vec<Value> = chain.iter().map(|filter| wasm_filter(filter, "http")).collect();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": format!("{TYPES}envoy.extensions.filters.http.router.v3.Router") },
    }));
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster, "timeout": "15s" } });
    let manager = json!({
        "@type": format!("{TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "main",
        "use_remote_address": true,
        "generate_request_id": false,
        "route_config": { "name": "all", "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
        "http_filters": filters,
    });
    let chain =
        json!({ "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] });
    json!({ "name": number.to_string(), "address": socket("127.0.0.1", 0), "filter_chains": [chain] })
}

/// Puts every filter into the VM of that name.
fn share_vm(value: &mut Value, vm_id: &str) {
    match value {
        Value::Object(fields) if fields.contains_key("vm_config") => {
            fields["vm_config"]["vm_id"] = vm_id.into();
            let name = fields["name"].clone();
            fields.insert("root_id".to_owned(), name);
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| share_vm(field, vm_id)),
        Value::Array(values) => values.iter_mut().for_each(|value| share_vm(value, vm_id)),
        _ => {}
    }
}

/// `kind`: `http` or `network`.
fn wasm_filter(filter: &WasmFilter, kind: &str) -> Value {
    json!({
        "name": format!("envoy.filters.{kind}.wasm"),
        "typed_config": {
            "@type": format!("{TYPES}envoy.extensions.filters.{kind}.wasm.v3.Wasm"),
            "config": {
                "name": filter.name,
                // What Pause means to the SDK's filters; the gateway reads it from their manifest.
                "allow_on_headers_stop_iteration": true,
                "vm_config": {
                    "vm_id": filter.name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": filter.file } },
                },
                "configuration": { "@type": format!("{TYPES}google.protobuf.StringValue"), "value": filter.config },
            },
        },
    })
}
