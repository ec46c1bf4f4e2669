//! `sluicegate schema`: one JSON Schema of the configuration file, for editors.

use std::path::Path;

use super::Exit;
use super::check::{say, warn_line};
use crate::gateway::{self, StartError};

pub(super) fn exec(config: &Path) -> Exit {
    match gateway::schema_of(config) {
        Ok((schema, unusable)) => {
            for plugin in unusable {
                warn_line(&format!("sluicegate: the schema of plugin \"{plugin}\" cannot be used and is left out"));
            }
            say(&format!("{schema:#}"));
            Exit::Ok
        }
        Err(StartError::Invalid(problems)) => {
            super::check::print_problems(&problems);
            Exit::Invalid
        }
        Err(StartError::Environment(error)) => {
            warn_line(&format!("sluicegate: {error:#}"));
            Exit::Environment
        }
    }
}
