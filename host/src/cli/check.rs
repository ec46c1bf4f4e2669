//! `sluicegate check`: everything that `run` would load, loaded; every problem told.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::{Args, ValueEnum};

use super::Exit;
use crate::config::{Problem, Problems};
use crate::gateway::{self, StartError};

#[derive(Args)]
pub(super) struct Options {
    /// How the result is written to standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How a result is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

pub(super) fn exec(config: &Path, options: &Options) -> Exit {
    match (gateway::check(config), options.output) {
        (Ok(summary), Output::Text) => {
            say(&summary.to_string());
            Exit::Ok
        }
        (Ok(summary), Output::Json) => {
            let (warnings, summary) = (to_json(&summary.warnings), summary.to_json());
            let result = serde_json::json!({ "valid": true, "problems": [], "warnings": warnings, "summary": summary });
            say(&result.to_string());
            Exit::Ok
        }
        (Err(StartError::Invalid(problems)), Output::Text) => {
            print_problems(&problems);
            Exit::Invalid
        }
        (Err(StartError::Invalid(problems)), Output::Json) => {
            say(&serde_json::json!({ "valid": false, "problems": to_json(&problems) }).to_string());
            Exit::Invalid
        }
        (Err(StartError::Environment(error)), _) => {
            warn_line(&format!("sluicegate: {error:#}"));
            Exit::Environment
        }
    }
}

/// Problems go to standard error, with the source line and a caret when a person is reading.
pub(super) fn print_problems(problems: &Problems) {
    let text = if std::io::stderr().is_terminal() { problems.render() } else { problems.to_string() };
    warn_line(text.trim_end());
    let count = problems.len();
    warn_line(&format!("{count} problem{} found.", if count == 1 { "" } else { "s" }));
}

/// Lines for machines or pipes, on standard output.
pub(super) fn say(line: &str) {
    // A closed pipe is the reader's choice and no problem of ours.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// A line for people, on standard error.
pub(super) fn warn_line(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

fn to_json(problems: &Problems) -> Vec<serde_json::Value> {
    problems.iter().map(Problem::to_json).collect()
}
