//! A folder with a configuration and a plugins directory, as an operator has one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::process;

/// A configuration with one upstream, `origin`, and one route to it through `filters`.
#[must_use]
pub fn one_route(target: &str, filters: &Value) -> Value {
    json!({
        "upstreams": { "origin": { "targets": [target] } },
        "routes": [{ "name": "all", "match": { "path": { "prefix": "/" } }, "filters": filters, "upstream": "origin" }],
    })
}

/// A configuration with one upstream, `origin`, and one TCP listener to it through `filters`.
#[must_use]
pub fn one_tcp(target: &str, filters: &Value) -> Value {
    json!({
        "listeners": [{ "address": "127.0.0.1:0", "tcp": { "upstream": "origin", "filters": filters } }],
        "upstreams": { "origin": { "targets": [target] } },
    })
}

/// The gateway's binary, which cargo builds beside the tests.
///
/// # Panics
/// The test was not started from cargo's output directory.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own file");
    let folder = test.parent().and_then(Path::parent).expect("tests live in a folder of cargo's output directory");
    folder.join("sluicegate-under-test")
}

/// A folder to run the gateway in.
pub struct Site {
    folder: TempDir,
    env: Vec<(String, String)>,
    /// Most open files of the gateway.
    files: Option<u32>,
}

/// What a verb that ends by itself left behind.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Site {
    /// A site with this configuration. Where it says nothing of listeners, admin, plugins or workers, the kernel chooses the ports,
    /// plugins are in `plugins/`, and there are two workers.
    #[must_use]
    pub fn new(config: &Value) -> Self {
        let site = Self::empty();
        site.write(config);
        site
    }
    /// A site without a configuration.
    ///
    /// # Panics
    /// There is no room for it.
    #[must_use]
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("sluicegate-").tempdir().expect("there is room for a folder");
        fs::create_dir(folder.path().join("plugins")).expect("there is room for a folder");
        Self { folder, env: Vec::new(), files: None }
    }
    /// With a plugin in the plugins directory.
    #[must_use]
    pub fn plugin(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.drop_in(name, bytes);
        self
    }
    /// With the scripted guest as the plugin `script`.
    #[must_use]
    pub fn script(self) -> Self {
        self.plugin("script", crate::guests::script())
    }
    /// With the scripted guest for TCP connections as the plugin `tcp`.
    #[must_use]
    pub fn tcp_script(self) -> Self {
        self.plugin("tcp", crate::guests::tcp_script())
    }
    /// With so many open files at most, for the gateway.
    #[must_use]
    pub fn files(mut self, most: u32) -> Self {
        self.files = Some(most);
        self
    }
    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("gateway.json")
    }
    /// The file of a plugin.
    #[must_use]
    pub fn plugin_file(&self, name: &str) -> PathBuf {
        self.folder().join("plugins").join(name).with_extension("wasm")
    }
    /// Writes the configuration in one step, as an editor does.
    pub fn write(&self, config: &Value) {
        self.write_text(&serde_json::to_string_pretty(&completed(config)).expect("a value can be written"));
    }
    /// Writes the text of the configuration as it stands.
    pub fn write_text(&self, text: &str) {
        replace(&self.config_file(), text.as_bytes());
    }
    /// Puts a plugin into the directory in one step.
    pub fn drop_in(&self, name: &str, bytes: impl AsRef<[u8]>) {
        replace(&self.plugin_file(name), bytes.as_ref());
    }
    /// Takes a plugin out of the directory.
    ///
    /// # Panics
    /// It was not there.
    pub fn take_out(&self, name: &str) {
        fs::remove_file(self.plugin_file(name)).expect("the plugin was there");
    }
    /// The gateway with these arguments, in this folder, with a clean environment.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_on(None, arguments)
    }
    /// The same on one core, if one is named.
    #[must_use]
    pub fn command_on(&self, core: Option<usize>, arguments: &[&str]) -> Command {
        let mut command = process::pinned(&binary(), core);
        if let Some(files) = self.files {
            command = Command::new("prlimit");
            command.arg(format!("--nofile={files}:{files}")).arg(binary());
        }
        command.args(arguments).current_dir(self.folder()).env_clear().stdin(Stdio::null());
        command.env("NO_COLOR", "1").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
    /// Runs a verb that ends by itself.
    ///
    /// # Panics
    /// It does not start, or it is ended by a signal.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the gateway starts");
        Output {
            code: output.status.code().expect("it was not ended by a signal"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
    /// Runs `sluicegate check`.
    #[must_use]
    pub fn check(&self) -> Output {
        self.run(&["check", "-c", "gateway.json"])
    }
    /// Starts the gateway and waits until it serves.
    pub async fn start(self) -> Gateway {
        Gateway::start(self).await
    }
}

impl Output {
    /// Everything that was printed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A configuration with what a test does not care about filled in.
fn completed(config: &Value) -> Value {
    let mut config = config.clone();
    let fields = config.as_object_mut().expect("a configuration is an object");
    fields.entry("listeners").or_insert_with(|| json!([{ "address": "127.0.0.1:0" }]));
    fields.entry("admin").or_insert_with(|| json!({ "address": "127.0.0.1:0" }));
    let limits = fields.entry("limits").or_insert_with(|| json!({}));
    limits.as_object_mut().expect("limits are an object").entry("workers").or_insert_with(|| json!(2));
    config
}

/// Writes a file beside its place and moves it there.
///
/// # Panics
/// There is no room for it.
pub fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new~");
    fs::write(&beside, bytes).expect("there is room for a file");
    fs::rename(&beside, file).expect("a file can be moved within its folder");
}
