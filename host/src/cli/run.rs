//! `sluicegate run`: serve until a signal.

use std::path::Path;

use clap::Args;
use tracing::error;

use super::Exit;
use crate::config::CommandLine;
use crate::gateway::{self, Origin, StartError};

/// Where requests are taken when nothing else is said.
const LISTEN: &str = "127.0.0.1:8080";

/// A gateway without a configuration file.
#[derive(Args, Default)]
pub(super) struct Options {
    /// Serve without a configuration file: everything goes to this URL.
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,
    /// A filter that every request passes: a file, or the name of a built-in plugin, each with its configuration as in
    /// 'rate-limit={"limit": 10, "per": "1m", "key": "ip"}', if it has one; may be given several times, in order.
    #[arg(long = "plugin", value_name = "PLUGIN[=JSON]", requires = "upstream")]
    plugins: Vec<String>,
    /// Where to listen, with `--upstream`.
    #[arg(long, value_name = "ADDRESS", requires = "upstream", default_value = LISTEN)]
    listen: String,
}

pub(super) fn exec(config: &Path, options: Options) -> Exit {
    let origin = match options.upstream {
        Some(upstream) => {
            Origin::CommandLine(CommandLine { upstream, plugins: options.plugins, listen: options.listen })
        }
        None => Origin::File(config.to_owned()),
    };
    match gateway::run(origin) {
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
