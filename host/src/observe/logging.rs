//! The gateway's own log, on standard error. (Access logs are a plugin's business.)

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::output::LogWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `RUST_LOG` is not a list of directives.
    #[error("RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something in this process has set up logging before.
    #[error("logging is set up already")]
    Twice,
}

/// What is logged when nothing else is said. The library that watches files warns of directories that are gone, which is no news.
const USUAL: &str = "info,notify=error";

/// Sends the events of this process to standard error, those that `RUST_LOG` lets through (`info` when unset).
///
/// # Errors
/// See [`LoggingError`].
pub fn init(format: Format) -> Result<(), LoggingError> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref())?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| LogWriter);
    let done = match format {
        Format::Text => lines.with_ansi(coloured()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| LoggingError::Twice)
}

fn filter(directives: Option<&str>) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    let directives = directives.map(str::trim).filter(|directives| !directives.is_empty());
    EnvFilter::try_new(directives.unwrap_or(USUAL))
}

/// See <https://no-color.org>.
fn coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_directives_the_level_is_info() {
        for unset in [None, Some(""), Some(" ")] {
            assert_eq!(filter(unset).unwrap().to_string(), "notify=error,info");
        }
    }

    #[test]
    fn directives_are_taken_or_refused() {
        assert_eq!(filter(Some("sluicegate=debug")).unwrap().to_string(), "sluicegate=debug");
        assert!(filter(Some("sluicegate=loud")).is_err());
    }
}
