//! The names of targets: each is asked for again when its answer expires, beside the requests. One worker does it for all.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hickory_resolver::proto::rr::RecordType;
use tokio::sync::watch;

use super::resolver::{Found, Resolver};
use crate::config::{Dns, Place, Target};
use crate::state::targets::{Answer, Endpoints, Targets};

/// Longest pause after a failure; the first is as long as the shortest time to live, then it doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Addresses of one name that are used: more than what fits into an answer's usual size is a mistake.
const ADDRESSES: usize = 1000;

/// Resolves the names among the targets for as long as these are in use.
pub(super) fn start(targets: &Arc<Targets>) {
    let config = targets.config();
    let resolver = Rc::new(Resolver::new(config.dns.clone()));
    for (place, target) in config.targets.iter().enumerate().filter(|(_, target)| target.name().is_some()) {
        let name = Name { place, target: target.clone(), resolver: Rc::clone(&resolver), last: RefCell::default() };
        tokio::task::spawn_local(name.follow(Arc::downgrade(targets), targets.follow()));
    }
}

/// One name of an upstream's targets.
struct Name {
    /// Its target's place in the configuration.
    place: usize,
    target: Target,
    resolver: Rc<Resolver>,
    /// Its addresses, as they were told last.
    last: RefCell<Vec<IpAddr>>,
}

impl Name {
    async fn follow(self, targets: Weak<Targets>, mut life: watch::Receiver<Arc<Endpoints>>) {
        let mut failures = 0;
        loop {
            let found = tokio::select! {
                found = self.resolver.resolve(self.target.name().unwrap_or_default()) => found,
                () = ended(&mut life) => return,
            };
            let Some(targets) = targets.upgrade() else { return };
            failures = if found.is_ok() { 0 } else { failures + 1 };
            let pause = pause(&targets.config().dns, &found, failures);
            self.tell(&targets, found);
            drop(targets);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ended(&mut life) => return,
            }
        }
    }

    fn tell(&self, targets: &Targets, found: Result<Found, Answer>) {
        let Place::Network { port, .. } = self.target.place else { return };
        let addresses = found.map(|mut found| {
            let kept = self.last.take().into_iter().filter(|address| match found.untold {
                Some(RecordType::A) => address.is_ipv4(),
                Some(_) => address.is_ipv6(),
                None => false,
            });
            found.addresses.extend(kept);
            found.addresses.truncate(ADDRESSES);
            self.last.replace(found.addresses.clone());
            found.addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect::<Vec<_>>()
        });
        let problem = match &addresses {
            Ok(_) => String::new(),
            Err(Answer::Nothing(problem) | Answer::Failure(problem)) => problem.clone(),
        };
        let outcome = targets.answered(self.place, addresses);
        let (upstream, target) = (&*targets.config().name, self.target.to_string());
        if outcome.broke {
            tracing::warn!(upstream, target, problem, "A name does not resolve.");
        }
        if outcome.recovered {
            tracing::info!(upstream, target, "A name resolves again.");
        }
        if !outcome.added.is_empty() || !outcome.removed.is_empty() {
            let (added, removed) = (&outcome.added, &outcome.removed);
            tracing::info!(upstream, target, ?added, ?removed, "The addresses of a name have changed.");
        }
    }
}

/// Ready when the targets are in use no more.
async fn ended(life: &mut watch::Receiver<Arc<Endpoints>>) {
    while life.changed().await.is_ok() {}
}

fn pause(dns: &Dns, found: &Result<Found, Answer>, failures: u32) -> Duration {
    match found {
        // Half an answer is not believed for long.
        Ok(found) if found.untold.is_some() => found.ttl.min(LONGEST_PAUSE).clamp(dns.min_ttl, dns.max_ttl),
        Ok(found) => found.ttl.clamp(dns.min_ttl, dns.max_ttl),
        Err(_) => {
            let doubled = dns.min_ttl.saturating_mul(1 << failures.saturating_sub(1).min(16));
            let longest = LONGEST_PAUSE.clamp(dns.min_ttl, dns.max_ttl);
            // Names that fail together are not asked for together for ever.
            doubled.min(longest).mul_f64(0.75 + fastrand::f64() / 4.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_when_its_answer_expires_and_less_and_less_often_while_it_fails() {
        let dns = Dns::default();
        let after = |ttl: u64| {
            let found = Found { addresses: Vec::new(), ttl: Duration::from_secs(ttl), untold: None };
            pause(&dns, &Ok(found), 0).as_secs()
        };
        assert_eq!([0, 1, 30, 86_400].map(after), [1, 1, 30, 300]);
        let failed = |failures| pause(&dns, &Err(Answer::Failure("no".to_owned())), failures);
        assert!(failed(1) <= Duration::from_secs(1) && failed(3) > Duration::from_secs(2));
        assert!(failed(40) <= LONGEST_PAUSE && failed(40) > LONGEST_PAUSE / 2);
    }
}
