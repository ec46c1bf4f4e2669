//! How a phase ends other than well: with an answer for the client, or with a fault.

use std::fmt;

use crate::reply::Reply;

/// What phase functions return.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Why a phase did not let the message pass.
#[derive(Debug)]
pub enum Error {
    /// Not a failure: the filter answers the client itself.
    Reply(Reply),
    /// The filter could not do its work. The gateway decides by the filter's `on_error`; the client learns nothing of it.
    Fault(Fault),
}

/// Something broke: an upstream, the configuration, the filter itself. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    /// A fault with this text: one sentence, without a trailing full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The same fault, with what was being done in front of it.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self(format!("{doing}: {}", self.0))
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl From<Reply> for Error {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Any error that reaches `?` unhandled is a fault; its chain of causes becomes the text.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors already repeat their cause in their own text.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self::Fault(Fault(message))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => write!(f, "reply {}", reply.status()),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

/// Turns "there is nothing" and "it went wrong" into an answer, for `?`.
pub trait OrReply<T> {
    /// The value, or else a problem reply with this status and text.
    ///
    /// # Errors
    /// There is no value.
    fn or_reply(self, status: u16, text: impl fmt::Display) -> Result<T>;
}

impl<T> OrReply<T> for Option<T> {
    fn or_reply(self, status: u16, text: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::Reply(Reply::problem_for(status, text)))
    }
}

impl<T, E> OrReply<T> for core::result::Result<T, E> {
    fn or_reply(self, status: u16, text: impl fmt::Display) -> Result<T> {
        self.map_err(|_| Error::Reply(Reply::problem_for(status, text)))
    }
}

/// Ends the phase with an answer: `bail!(401, "no token for {realm}")` returns a problem reply (RFC 9457).
#[macro_export]
macro_rules! bail {
    ($status:expr, $($text:tt)+) => {
        return ::core::result::Result::Err($crate::Error::Reply($crate::Reply::problem_for($status, ::core::format_args!($($text)+))))
    };
}

/// Ends the phase with an answer unless a condition holds: `ensure!(user.active, 403, "account is locked")`.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $status:expr, $($text:tt)+) => {
        if !$condition {
            $crate::bail!($status, $($text)+);
        }
    };
}

/// Makes a fault: `return Err(fault!("no signing key {kid}"))`, `key.ok_or_else(|| fault!("no key"))?`.
#[macro_export]
macro_rules! fault {
    ($($text:tt)+) => {
        $crate::Error::Fault($crate::Fault::new(::std::format!($($text)+)))
    };
}
