//! nginx, as the backend and as a peer.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use sluicegate_tests::wait::eventually;
use sluicegate_tests::{peers, process};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// A running nginx with one worker. Ended when dropped.
pub(crate) struct Nginx {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Keeps its configuration.
    _folder: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master process ends its worker when it is asked to end; killing it would leave the worker behind.
        process::signal(self.child.id(), "TERM");
        self.child.wait().ok();
    }
}

impl Nginx {
    /// The service behind everything: 128 bytes for every request.
    pub(crate) async fn backend() -> Self {
        let answer = "x".repeat(128);
        Self::start(1, |address| format!("server {{ listen {address}; location / {{ return 200 '{answer}'; }} }}"))
            .await
    }
    /// A proxy in front of `backend`, as lean as nginx can be.
    pub(crate) async fn proxy(backend: SocketAddr) -> Self {
        Self::start(0, |address| {
            format!(
                "upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
                 server {{ listen {address}; location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header connection ''; proxy_set_header host $http_host; }} }}"
            )
        })
        .await
    }
    async fn start(core: usize, server: impl Fn(SocketAddr) -> String) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let address = process::free_address();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};"))
            .concat();
        let config = format!(
            "worker_processes 1; daemon off; pid nginx.pid; error_log stderr crit;
             events {{ worker_connections 4096; }}
             http {{ access_log off; keepalive_requests 1000000000; {temporary} {} }}",
            server(address)
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("there is room for a file");
        let mut command = process::pinned(&peers::program("nginx").expect("it was there before"), Some(core));
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("nginx starts");
        eventually("nginx listens", || async move { TcpStream::connect(address).await.is_ok() }).await;
        Self { child, address, _folder: folder }
    }
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}
