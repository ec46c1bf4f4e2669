//! TLS of the listeners in a generation: made from the files as they are on disk; what is unchanged is kept.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::generation::Generation;
use crate::config::{Config, Loaded, Problem};
use crate::listener::{Finding, Termination};

/// What the listeners do with TLS, in the order of the configuration's listeners.
#[derive(Default)]
pub(super) struct ListenersTls {
    pub(super) listeners: Vec<Option<Arc<Termination>>>,
    /// What an operator should know, one line each with its place.
    pub(super) warnings: Vec<String>,
}

/// The files that take part, for the watcher.
pub(super) fn files(config: &Config) -> Vec<PathBuf> {
    let named = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| tls.files());
    named.map(PathBuf::from).collect()
}

/// Makes every listener's TLS, or keeps that of `previous`. What is wrong is added to `problems`.
pub(super) fn load(loaded: &Loaded, previous: Option<&Generation>, problems: &mut Vec<Problem>) -> ListenersTls {
    let now = SystemTime::now();
    let mut all = ListenersTls::default();
    for (index, listener) in loaded.config.listeners.iter().enumerate() {
        let told = |finding: &Finding| {
            let path = format!("listeners[{index}].tls.{}", finding.place);
            loaded.origins.file_problem(&path, finding.message.as_str())
        };
        // That of the same address first, for it has given the sessions that clients will come back with.
        let known = known(previous, |address| address == listener.address)
            .chain(known(previous, |address| address != listener.address));
        let made = listener.tls.as_ref().map(|tls| Termination::load(tls, known)).transpose();
        match made {
            Ok(made) => {
                let warnings = made.iter().flat_map(|made| made.warnings(now));
                all.warnings.extend(warnings.map(|finding| told(&finding).to_string()));
                all.listeners.push(made);
            }
            Err(findings) => problems.extend(findings.iter().map(told)),
        }
    }
    all
}

/// What the generation before had at those addresses.
fn known(
    previous: Option<&Generation>,
    wanted: impl Fn(SocketAddr) -> bool,
) -> impl Iterator<Item = &Arc<Termination>> {
    let pairs = previous.into_iter().flat_map(|old| old.config.listeners.iter().zip(&old.tls.listeners));
    pairs.filter(move |(listener, _)| wanted(listener.address)).filter_map(|(_, tls)| tls.as_ref())
}
