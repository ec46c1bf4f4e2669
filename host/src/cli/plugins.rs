//! `sluicegate plugins`: which plugins there are, and what a file is.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args, Subcommand};

use super::Exit;
use super::check::{Output, print_problems, say, warn_line};
use crate::gateway::{self, Listed, StartError};
use crate::wasm::Report;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Every plugin that the configuration could use, and where it is used.
    List(List),
    /// What a module is and whether it loads: ABI, imports, exports, sections, schema, digest. Needs no configuration.
    Inspect(Inspect),
}

#[derive(Args)]
pub(super) struct List {
    /// How the result is written to standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Args)]
pub(super) struct Inspect {
    /// A `.wasm` file, or the name of a plugin that is built in.
    file: String,
    /// How the result is written to standard output.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(super) fn exec(config: &Path, verb: &Verb) -> Exit {
    match verb {
        Verb::List(options) => list(config, options.output),
        Verb::Inspect(options) => inspect(&options.file, options.output),
    }
}

fn list(config: &Path, output: Output) -> Exit {
    match (gateway::list(config), output) {
        (Ok(list), Output::Text) => {
            say(table(&list).trim_end());
            Exit::Ok
        }
        (Ok(list), Output::Json) => {
            say(&serde_json::Value::from_iter(list.iter().map(Listed::to_json)).to_string());
            Exit::Ok
        }
        (Err(StartError::Invalid(problems)), _) => {
            print_problems(&problems);
            Exit::Invalid
        }
        (Err(StartError::Environment(error)), _) => {
            warn_line(&format!("sluicegate: {error:#}"));
            Exit::Environment
        }
    }
}

fn inspect(file: &str, output: Output) -> Exit {
    let report = match gateway::inspect(file) {
        Ok(report) => report,
        Err(error) => {
            warn_line(&format!("sluicegate: {error:#}"));
            return Exit::Invalid;
        }
    };
    match output {
        Output::Text => say(text(&report).trim_end()),
        Output::Json => say(&report.to_json().to_string()),
    }
    if report.problem.is_some() { Exit::Invalid } else { Exit::Ok }
}

/// One line per plugin. Writing to a String cannot fail.
fn table(list: &[Listed]) -> String {
    let mut table = format!("{:<16} {:<10} {:>9}  {:<7} {:<24} used by\n", "name", "digest", "bytes", "abi", "from");
    for plugin in list {
        let Report { digest, size, abi, problem, .. } = &plugin.report;
        let from = plugin.file.as_ref().map_or("built in".to_owned(), |file| file.display().to_string());
        let digest = digest.get(..8).unwrap_or(digest);
        let abi = abi.join(" ");
        let uses = if plugin.used_by.is_empty() { "-".to_owned() } else { plugin.used_by.join(" ") };
        writeln!(table, "{:<16} {digest:<10} {size:>9}  {abi:<7} {from:<24} {uses}", plugin.name).ok();
        if let Some(problem) = problem {
            writeln!(table, "  does not load: {problem}").ok();
        }
    }
    table
}

/// Everything about one module.
fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            writeln!(text, "{name:<12} {value}").ok();
        }
    };
    line("digest", &format!("sha256:{}", report.digest));
    line("size", &format!("{} bytes", report.size));
    line("abi", &report.abi.join(" "));
    line("sdk", &report.sdk.as_ref().map_or(String::new(), |version| format!("sluicegate-sdk {version}")));
    line("made by", &report.producers.join(", "));
    line("callbacks", &report.callbacks.join(" "));
    for (index, (area, imports)) in report.imports_by_area().iter().enumerate() {
        line(if index == 0 { "imports" } else { "" }, area);
        imports.iter().for_each(|import| line("", &format!("  {import}")));
    }
    line("areas", &report.areas.join(" "));
    line("unsupported", &report.unsupported.join(" "));
    line("exports", &report.exports.join(" "));
    let sections = report.sections.iter().map(|(name, size)| format!("{name} {size}"));
    line("sections", &sections.collect::<Vec<_>>().join(", "));
    if let Some(schema) = &report.schema {
        line("schema", &format!("{schema:#}"));
    }
    for warning in &report.warnings {
        line("warning", warning);
    }
    line("verdict", &report.problem.as_ref().map_or("loads".to_owned(), |problem| format!("does not load: {problem}")));
    text
}
