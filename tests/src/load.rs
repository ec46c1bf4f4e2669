//! Load: connections that send requests all the time and check every answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use tokio::task::JoinHandle;

use crate::body;
use crate::client::{Connection, Response};
use crate::wait::eventually;

/// What running load has seen so far.
#[derive(Default)]
pub struct Tally {
    /// Requests answered as they should be.
    pub served: AtomicU64,
    /// Connections that had to be opened, the first ones included.
    pub opened: AtomicU64,
    failures: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Connections that send requests until they are told to stop.
pub struct Load {
    tally: Arc<Tally>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// `connections` kept connections send GET `target`; `check` says what is wrong with an answer.
    pub fn start<C>(address: SocketAddr, connections: usize, target: &str, check: C) -> Self
    where
        C: Fn(&Response) -> Result<(), String> + Send + Sync + 'static,
    {
        let tally = Arc::new(Tally::default());
        let check = Arc::new(check);
        let tasks = (0..connections).map(|_| {
            let (tally, check, target) = (Arc::clone(&tally), Arc::clone(&check), target.to_owned());
            tokio::spawn(async move { keep_asking(address, &target, &tally, &*check).await })
        });
        Self { tasks: tasks.collect(), tally }
    }
    /// How many requests were answered as they should be.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.tally.served.load(Ordering::Relaxed)
    }
    /// Waits until `more` further requests were answered.
    ///
    /// # Panics
    /// Load has failed.
    pub async fn advance(&self, more: u64) {
        let goal = self.served() + more;
        eventually("load goes on", || {
            self.fail_if_failed();
            std::future::ready(self.served() >= goal)
        })
        .await;
    }
    fn fail_if_failed(&self) {
        let failures = self.tally.failures.lock().expect("load does not panic");
        assert!(failures.is_empty(), "{} requests failed, first: {}", failures.len(), failures[0]);
    }
    /// Stops, and expects that nothing has failed and no connection was ever closed. The number of requests served.
    ///
    /// # Panics
    /// A request failed, or a connection was closed.
    pub async fn stop(self) -> u64 {
        let connections = self.tasks.len();
        let tally = self.end().await;
        let failures = tally.failures.lock().expect("load does not panic");
        assert!(failures.is_empty(), "{} requests failed, first: {}", failures.len(), failures[0]);
        let opened = tally.opened.load(Ordering::Relaxed);
        assert_eq!(opened, connections as u64, "connections were closed and opened again");
        tally.served.load(Ordering::Relaxed)
    }
    /// Stops, whatever was seen.
    ///
    /// # Panics
    /// Load itself is broken.
    pub async fn end(self) -> Arc<Tally> {
        self.tally.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("load does not panic");
        }
        self.tally
    }
}

impl Tally {
    /// What went wrong.
    ///
    /// # Panics
    /// Load itself is broken.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("load does not panic").clone()
    }
}

async fn keep_asking(
    address: SocketAddr,
    target: &str,
    tally: &Tally,
    check: &(dyn Fn(&Response) -> Result<(), String> + Send + Sync),
) {
    let mut connection = None;
    while !tally.stop.load(Ordering::Relaxed) {
        if let Err(failure) = ask(address, target, tally, check, &mut connection).await {
            connection = None;
            tally.failures.lock().expect("load does not panic").push(failure);
        }
    }
}

async fn ask(
    address: SocketAddr,
    target: &str,
    tally: &Tally,
    check: &(dyn Fn(&Response) -> Result<(), String> + Send + Sync),
    kept: &mut Option<Connection>,
) -> Result<(), String> {
    let mut connection = match kept.take().filter(|connection| !connection.is_closed()) {
        Some(connection) => connection,
        None => {
            tally.opened.fetch_add(1, Ordering::Relaxed);
            Connection::http1(address).await.map_err(|error| error.to_string())?
        }
    };
    let request = Request::get(target).body(body::empty()).map_err(|error| error.to_string())?;
    let response = connection.send(request).await.map_err(|error| format!("{error:?}"))?;
    check(&response)?;
    tally.served.fetch_add(1, Ordering::Relaxed);
    *kept = Some(connection);
    Ok(())
}
