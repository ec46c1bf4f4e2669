//! What the admin API may change: the same as signals do, and the version of a plugin.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tracing::info;

use super::reload::{NoRollback, Reloader, lock};
use super::status::GatewayStatus;
use crate::admin::{Control, NotDone};
use crate::config::{Problem, Problems};

/// The gateway's levers.
pub(super) struct Steering {
    reloader: Arc<Mutex<Reloader>>,
    status: Arc<GatewayStatus>,
    drain: Notify,
}

impl Steering {
    pub(super) fn new(reloader: &Arc<Mutex<Reloader>>, status: &Arc<GatewayStatus>) -> Self {
        Self { reloader: Arc::clone(reloader), status: Arc::clone(status), drain: Notify::new() }
    }

    /// Waits until somebody asks for the end.
    pub(super) async fn drain_asked(&self) {
        self.drain.notified().await;
    }

    /// The end has begun: nothing is changed any more. Gives how long requests are still taken on.
    pub(super) fn draining(&self) -> Duration {
        self.status.draining();
        self.status.drain_delay()
    }

    fn while_serving(&self) -> Result<(), NotDone> {
        match self.status.is_draining() {
            true => Err(NotDone::Conflict("the gateway is draining".to_owned())),
            false => Ok(()),
        }
    }
}

impl Control for Steering {
    fn reload(&self) -> Result<Value, NotDone> {
        self.while_serving()?;
        info!("Asked to reload.");
        let number = lock(&self.reloader).reload().map_err(|problems| invalid(&problems))?;
        Ok(json!({ "generation": number }))
    }

    fn drain(&self) {
        self.drain.notify_one();
    }

    fn roll_back(&self, name: &str) -> Result<Value, NotDone> {
        self.while_serving()?;
        let mut reloader = lock(&self.reloader);
        let Some(plugin) = reloader.current.plugins.get(name).cloned() else {
            return Err(NotDone::Unknown(format!("no filter uses a plugin \"{name}\"")));
        };
        match reloader.roll_back(&plugin) {
            Ok(()) => {
                let serving = reloader.current.plugins.get(name).map(|plugin| Arc::clone(&plugin.digest));
                Ok(json!({
                    "generation": reloader.current.number,
                    "plugin": name,
                    "digest": serving.as_deref(),
                    "withdrawn": &*plugin.digest,
                }))
            }
            Err(NoRollback::Impossible(reason)) => Err(NotDone::Conflict(reason)),
            Err(NoRollback::Invalid(problems)) => Err(invalid(&problems)),
        }
    }
}

fn invalid(problems: &Problems) -> NotDone {
    NotDone::Invalid(problems.iter().map(Problem::to_json).collect())
}
