//! The gateway as a running process.

use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};

use http::Method;
use serde_json::Value;

use crate::client::{Call, Response};
use crate::lines::Lines;
use crate::process;
use crate::site::Site;
use crate::wait::{eventually, until};

/// A gateway that serves. Ended when dropped.
pub struct Gateway {
    site: Site,
    child: Child,
    /// What it printed to its standard output: its addresses, and the access log.
    pub output: Lines,
    /// What it logged.
    pub log: Lines,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Gateway {
    /// Starts `sluicegate run` in `site` and waits until it says that it is ready.
    ///
    /// # Panics
    /// It does not become ready.
    pub async fn start(site: Site) -> Self {
        Self::start_with(site, &["run", "-c", "gateway.json"]).await
    }
    /// The same with other arguments.
    ///
    /// # Panics
    /// It does not become ready.
    pub async fn start_with(site: Site, arguments: &[&str]) -> Self {
        let mut command = site.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the gateway starts");
        let output = Lines::read(child.stdout.take().expect("it is piped"));
        let log = Lines::read(child.stderr.take().expect("it is piped"));
        let mut gateway = Self { site, child, output, log, addresses: Vec::new(), admin: None };
        let output = gateway.output.clone();
        eventually("the gateway is ready or has ended", || {
            let ended = gateway.child.try_wait().is_ok_and(|status| status.is_some());
            let ready = output.all().iter().any(|line| line == "ready");
            std::future::ready(ready || ended)
        })
        .await;
        let lines = output.all();
        assert!(lines.iter().any(|line| line == "ready"), "the gateway did not start");
        gateway.addresses = lines.iter().filter_map(|line| address(line, "listening ")).collect();
        gateway.admin = lines.iter().find_map(|line| address(line, "admin "));
        gateway
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }
    /// Where all its listeners are.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
    /// Where its admin API listens.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("the configuration has an admin address")
    }
    /// The folder that it runs in.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Resident memory, bytes.
    #[must_use]
    pub fn resident(&self) -> u64 {
        process::resident(self.pid())
    }
    /// A request on a connection of its own.
    #[must_use]
    pub fn request(&self, method: Method, target: &str) -> Call {
        Call::new(self.address(), method, target)
    }
    /// GET on a connection of its own.
    pub async fn get(&self, target: &str) -> Response {
        self.request(Method::GET, target).send().await
    }
    /// GET with an `x-do` header: the word that the scripted guest's `when` compares with.
    pub async fn asking(&self, word: &str) -> Response {
        self.request(Method::GET, "/").header("x-do", word).send().await
    }
    /// POST of a body on a connection of its own.
    pub async fn post(&self, target: &str, body: impl Into<bytes::Bytes>) -> Response {
        self.request(Method::POST, target).body(body).send().await
    }
    /// GET from the admin API.
    pub async fn admin_get(&self, path: &str) -> Response {
        Call::new(self.admin(), Method::GET, path).send().await
    }
    /// POST to the admin API.
    pub async fn admin_post(&self, path: &str) -> Response {
        Call::new(self.admin(), Method::POST, path).send().await
    }
    /// The number of the generation that serves.
    ///
    /// # Panics
    /// The admin API does not answer with one.
    pub async fn generation(&self) -> u64 {
        let response = self.admin_get("/api/v1/generation").await;
        let value = response.json();
        value["number"].as_u64().unwrap_or_else(|| panic!("no generation in {value}"))
    }
    /// Waits until a generation after `before` serves.
    pub async fn next_generation(&self, before: u64) {
        eventually("a new generation serves", || async { self.generation().await > before }).await;
    }
    /// Writes another configuration and waits until it serves.
    pub async fn reload(&self, config: &Value) {
        let before = self.generation().await;
        self.site.write(config);
        self.next_generation(before).await;
    }
    /// Puts a plugin into the directory and waits until it serves.
    pub async fn swap(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let before = self.generation().await;
        self.site.drop_in(name, bytes);
        self.next_generation(before).await;
    }
    /// The sum of a metric's series that carry these labels; 0 when there is none.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin_get("/metrics").await.text();
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let fitting = series.filter(|line| wanted.iter().all(|label| line.contains(label.as_str())));
        fitting.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
    /// Waits for a log line that contains `text`.
    pub async fn wait_for_log(&self, text: &str) -> String {
        self.log.wait_for(text).await
    }
    /// Ends it as an operator does, and expects that it ends well.
    ///
    /// # Panics
    /// It does not end, or not with 0.
    pub async fn stop(mut self) {
        process::signal(self.pid(), "TERM");
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "a gateway that is asked to end ends with 0");
    }
    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the gateway ends", || std::future::ready(child.try_wait().expect("its state can be asked for"))).await
    }
    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- the gateway's output\n{}\n--- its log\n{}\n---", self.output.tail(), self.log.tail());
        }
    }
}

/// The address in a line like `listening http://127.0.0.1:8080`, or with `https://`.
fn address(line: &str, what: &str) -> Option<SocketAddr> {
    let (_, address) = line.strip_prefix(what)?.split_once("://")?;
    address.trim_end_matches('/').parse().ok()
}
