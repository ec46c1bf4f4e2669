//! TLS of the listeners in a generation: made from the files as they are on disk; what is unchanged is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::generation::Generation;
use crate::config::{Config, Loaded, Problem, files};
use crate::listener::{Finding, Termination};
use crate::upstream::Tls;

/// What the listeners do with TLS, in the order of the configuration's listeners.
#[derive(Default)]
pub(super) struct ListenersTls {
    pub(super) listeners: Vec<Option<Arc<Termination>>>,
    /// That of the admin API.
    pub(super) admin: Option<Arc<Termination>>,
    /// What an operator should know, one line each with its place.
    pub(super) warnings: Vec<String>,
}

/// The files that take part, for the watcher.
pub(super) fn files(config: &Config) -> Vec<PathBuf> {
    let named = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| tls.files());
    let upstreams = config.upstreams.values().filter_map(|upstream| upstream.tls.as_ref()).flat_map(|tls| tls.files());
    let admin = config.admin.iter().filter_map(|admin| admin.tls.as_ref()).flat_map(|tls| tls.files());
    named.chain(admin).chain(upstreams).map(PathBuf::from).collect()
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
    if let Some(tls) = loaded.config.admin.as_ref().and_then(|admin| admin.tls.as_ref()) {
        let told = |finding: &Finding| {
            loaded.origins.file_problem(&format!("admin.tls.{}", finding.place), finding.message.as_str())
        };
        match Termination::load(tls, previous.into_iter().filter_map(|old| old.tls.admin.as_ref())) {
            Ok(made) => {
                all.warnings.extend(made.warnings(now).iter().map(|finding| told(finding).to_string()));
                all.admin = Some(made);
            }
            Err(findings) => problems.extend(findings.iter().map(told)),
        }
    }
    all
}

/// Makes the TLS of every upstream that has its own, or keeps that of `previous` while neither words nor files have changed.
pub(super) fn load_upstreams(
    loaded: &Loaded,
    usual: &Arc<Tls>,
    previous: Option<&Generation>,
    problems: &mut Vec<Problem>,
) -> OwnTls {
    let mut all = OwnTls::new();
    for (name, upstream) in &loaded.config.upstreams {
        let Some(config) = &upstream.tls else { continue };
        let digests =
            config.files().map(|path| files::read_revocations(path).map(|bytes| Sha256::digest(&bytes).into()).ok());
        let digests: Vec<Option<[u8; 32]>> = digests.collect();
        let known = previous.and_then(|old| {
            let same = old.config.upstreams.get(name)?.tls.as_ref() == Some(config);
            old.upstream_tls.get(name).filter(|(before, _)| same && *before == digests)
        });
        if let Some(known) = known {
            all.insert(name.clone(), known.clone());
            continue;
        }
        match usual.of_upstream(config) {
            Ok(made) => {
                all.insert(name.clone(), (digests, Arc::new(made)));
            }
            Err(findings) => problems.extend(findings.into_iter().map(|(key, message)| {
                loaded.origins.file_problem(&format!("upstreams.{name}.tls.{key}"), message.as_str())
            })),
        }
    }
    all
}

/// By upstream: digests of the files, and what was made of them.
pub(super) type OwnTls = BTreeMap<String, (Vec<Option<[u8; 32]>>, Arc<Tls>)>;

/// What the generation before had at those addresses.
fn known(
    previous: Option<&Generation>,
    wanted: impl Fn(SocketAddr) -> bool,
) -> impl Iterator<Item = &Arc<Termination>> {
    let pairs = previous.into_iter().flat_map(|old| old.config.listeners.iter().zip(&old.tls.listeners));
    pairs.filter(move |(listener, _)| wanted(listener.address)).filter_map(|(_, tls)| tls.as_ref())
}
