//! Log lines and panics.

use std::fmt;

use crate::host::{HOST, Host};

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For following one request step by step.
    Trace = 0,
    /// For whoever writes the filter.
    Debug = 1,
    /// Normal, and worth a line.
    Info = 2,
    /// Somebody should look at it in time.
    Warn = 3,
    /// Something did not work.
    Error = 4,
    /// The filter cannot go on.
    Critical = 5,
}

impl Level {
    /// The level with this number in the ABI; what is above counts as critical.
    #[cfg(target_arch = "wasm32")]
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            _ => Self::Critical,
        }
    }
}

/// Logs a line of the filter's; used by the macros.
#[doc(hidden)]
pub fn log_at(level: Level, file: &str, line: u32, text: fmt::Arguments<'_>) {
    if level >= HOST.log_level() {
        HOST.log(level, &format!("{file}:{line}: {text}"));
    }
}

/// Logs a line of the SDK's own.
pub(crate) fn error(text: &str) {
    HOST.log(Level::Error, text);
}

/// Logs at trace level; takes the arguments of `format!`. The file and line are put in front.
#[macro_export]
macro_rules! trace {
    ($($text:tt)+) => { $crate::__private::log_at($crate::Level::Trace, ::core::file!(), ::core::line!(), ::core::format_args!($($text)+)) };
}

/// Logs at debug level; takes the arguments of `format!`. The file and line are put in front.
#[macro_export]
macro_rules! debug {
    ($($text:tt)+) => { $crate::__private::log_at($crate::Level::Debug, ::core::file!(), ::core::line!(), ::core::format_args!($($text)+)) };
}

/// Logs at info level; takes the arguments of `format!`. The file and line are put in front.
#[macro_export]
macro_rules! info {
    ($($text:tt)+) => { $crate::__private::log_at($crate::Level::Info, ::core::file!(), ::core::line!(), ::core::format_args!($($text)+)) };
}

/// Logs at warn level; takes the arguments of `format!`. The file and line are put in front.
#[macro_export]
macro_rules! warn {
    ($($text:tt)+) => { $crate::__private::log_at($crate::Level::Warn, ::core::file!(), ::core::line!(), ::core::format_args!($($text)+)) };
}

/// Logs at error level; takes the arguments of `format!`. The file and line are put in front.
#[macro_export]
macro_rules! error {
    ($($text:tt)+) => { $crate::__private::log_at($crate::Level::Error, ::core::file!(), ::core::line!(), ::core::format_args!($($text)+)) };
}

/// Writes one line to the gateway's standard output; in other hosts an info log line.
pub fn print_line(line: &str) {
    if crate::extension::call(crate::extension::PRINT, line.as_bytes()).is_err() {
        HOST.log(Level::Info, line);
    }
}

/// Makes panics say where they happened before the module traps.
#[cfg(target_arch = "wasm32")]
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        HOST.log(Level::Critical, &format!("panicked at {place}: {message}"));
    }));
}
