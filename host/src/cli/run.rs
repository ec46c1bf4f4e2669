//! `sluicegate run`: serve until a signal.

use std::path::Path;

use tracing::error;

use super::Exit;
use crate::gateway::{self, StartError};

pub(super) fn exec(config: &Path) -> Exit {
    match gateway::run(config) {
        Ok(()) => Exit::Ok,
        Err(StartError::Invalid(problems)) => {
            super::check::print_problems(&problems);
            Exit::Invalid
        }
        Err(StartError::Environment(error)) => {
            error!(error = format!("{error:#}"), "The gateway cannot run here.");
            Exit::Environment
        }
    }
}
