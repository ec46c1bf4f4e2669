//! The command line: arguments, one file per verb, exit codes.
//!
//! Standard output is for data (addresses, access records, results of a check), standard error for talk (the log).

mod check;
mod explain;
mod fmt;
mod plugins;
mod run;
mod schema;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// The configuration file, unless another is named.
const CONFIG: &str = "gateway.json";

/// What the process's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// The configuration or a plugin is not valid; starting again will not help.
    Invalid,
    /// The machine refused something: a port in use, a missing permission.
    Environment,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // 2 is taken by usage errors, which the argument parser answers itself.
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Invalid => 1,
            Exit::Environment => 3,
        })
    }
}

#[derive(Parser)]
#[command(name = "sluicegate", version, about, long_about = None, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    common: Common,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 configuration or plugin not valid (explain: no route takes the request; fmt --check: a file would change), 2 wrong usage, 3 the machine refused (port in use, permission), 130 told twice to end.";

/// Options of every verb.
#[derive(Args)]
struct Common {
    /// The configuration file (gateway.json).
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines are written to standard error. What is logged is chosen by RUST_LOG.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve requests (the default). Files are watched: plugins and configuration are exchanged without a restart.
    Run(run::Options),
    /// Load everything exactly as `run` would, report every problem, and exit.
    #[command(alias = "validate")]
    Check(check::Options),
    /// What would happen to a request: its route and why no other, its filters, its upstream. Nothing is sent.
    Explain(explain::Options),
    /// One JSON Schema of the configuration file for editors, with those of all plugins.
    Schema,
    /// Write the configuration file, and those that it includes, in the canonical layout; comments and order stay.
    Fmt(fmt::Options),
    /// Which plugins there are, and what a file is.
    #[command(subcommand)]
    Plugins(plugins::Verb),
}

/// Parses the arguments and runs one verb.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let format = match arguments.common.log_format {
        LogFormat::Text => crate::observe::logging::Format::Text,
        LogFormat::Json => crate::observe::logging::Format::Json,
    };
    let file = arguments.common.config;
    let path = file.clone().unwrap_or_else(|| PathBuf::from(CONFIG));
    let exit = match arguments.verb.unwrap_or_else(|| Verb::Run(run::Options::default())) {
        Verb::Run(options) => {
            if file.is_some() && options.upstream.is_some() {
                let message = "--upstream serves without a configuration file: give it or --config, not both";
                Arguments::command().error(ErrorKind::ArgumentConflict, message).exit();
            }
            if let Err(error) = crate::observe::logging::init(format) {
                check::warn_line(&format!("sluicegate: {error}"));
                return Exit::Invalid.into();
            }
            run::exec(&path, options)
        }
        Verb::Check(options) => check::exec(&path, &options),
        Verb::Explain(options) => explain::exec(&path, options),
        Verb::Fmt(options) => fmt::exec(&path, &options),
        Verb::Schema => schema::exec(&path),
        Verb::Plugins(verb) => plugins::exec(&path, &verb),
    };
    crate::observe::output::STDOUT.flush();
    crate::observe::output::STDERR.flush();
    exit.into()
}
