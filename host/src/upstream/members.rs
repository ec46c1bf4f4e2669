//! The targets that an upstream has on one worker, as the addresses of names come and go. Those that stay keep their connections.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::watch;

use super::balance::Balancer;
use super::target::Target;
use super::tls::Tls;
use super::{Upstream, UpstreamError, checks, names};
use crate::config;
use crate::state::targets::{Endpoints, Targets};

/// Makes the choice among `endpoints`. Targets of `before` that are still there are taken over.
pub(super) fn balancer(
    config: &config::Upstream,
    tls: &Arc<Tls>,
    endpoints: &Endpoints,
    before: Option<&Balancer>,
) -> Balancer {
    let targets = endpoints.all.iter().map(|endpoint| {
        let kept = before.and_then(|before| before.targets().find(|target| target.is_of(endpoint)));
        let Some(kept) = kept else { return Rc::new(Target::new(endpoint.clone(), config, Arc::clone(tls))) };
        kept.set_siblings(endpoint.has_siblings);
        Rc::clone(kept)
    });
    // Workers do not all begin with the same one.
    let next = before.map_or_else(|| fastrand::usize(..), Balancer::next);
    Balancer::new(config, endpoints, targets, next)
}

/// Resolves the names of a new upstream, if nobody does, and follows what comes of that.
pub(super) fn start(upstream: &Rc<Upstream>, targets: &Arc<Targets>) {
    if upstream.config.targets.iter().all(|target| target.name().is_none()) {
        return;
    }
    tokio::task::spawn_local(follow(Rc::downgrade(upstream), targets.follow()));
    if targets.take_names() {
        names::start(targets);
    }
}

async fn follow(upstream: Weak<Upstream>, mut changes: watch::Receiver<Arc<Endpoints>>) {
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        let Some(upstream) = upstream.upgrade() else { return };
        let endpoints = Arc::clone(&changes.borrow_and_update());
        upstream.take_over(&endpoints);
    }
}

impl Upstream {
    /// The choice as it is now.
    pub(super) fn balancer(&self) -> Rc<Balancer> {
        Rc::clone(&self.balancer.borrow())
    }

    /// From now on requests go to these. Whoever is on its way to another one may finish.
    fn take_over(self: &Rc<Self>, endpoints: &Endpoints) {
        let before = self.balancer();
        let balancer = Rc::new(balancer(&self.config, &self.tls, endpoints, Some(&before)));
        self.balancer.replace(Rc::clone(&balancer));
        let added = balancer.targets().filter(|target| !before.targets().any(|old| Rc::ptr_eq(old, target)));
        checks::watch_new(self, added);
    }

    /// Waits for the first address, or the first answer to every name, but no longer than for a connection.
    pub(super) async fn first_answers(&self) -> Rc<Balancer> {
        let mut changes = self.targets.follow();
        let answered = changes.wait_for(|endpoints| !endpoints.unanswered || !endpoints.all.is_empty());
        if let Ok(Ok(endpoints)) = tokio::time::timeout(self.config.connect_timeout, answered).await {
            // This worker may not have followed yet.
            if let Some(this) = self.this.upgrade().filter(|this| this.balancer.borrow().is_waiting()) {
                this.take_over(&endpoints);
            }
        }
        self.balancer()
    }

    /// Why there is nobody to send to.
    pub(super) fn nobody(&self, balancer: &Balancer) -> UpstreamError {
        let upstream = self.name().to_string();
        match &balancer.problem {
            Some(problem) => UpstreamError::Resolve { target: upstream, error: problem.to_string() },
            None if balancer.unanswered => {
                UpstreamError::Resolve { target: upstream, error: "no answer yet".to_owned() }
            }
            None => UpstreamError::NoTarget { upstream },
        }
    }
}
