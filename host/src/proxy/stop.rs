//! Why a request goes no further than its filters.

use super::ProxyError;
use crate::filter::chain::ChainError;
use crate::filter::exchange::Interrupt;
use crate::filter::{Direction, LocalReply};

/// Why a request goes no further.
pub(super) enum Stop {
    /// A filter answers it.
    Reply(usize, LocalReply),
    /// The gateway answers it.
    Error(ProxyError),
    /// The route answers it.
    Route(LocalReply),
    /// A filter ends it without an answer.
    Reset(String),
}

impl From<Interrupt> for Stop {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Reply(stage, reply) => Self::Reply(stage, reply),
            Interrupt::Reset(reason) => Self::Reset(reason),
        }
    }
}

impl Stop {
    /// What ends a direction of the chain before its head was sent.
    pub(super) fn new(direction: Direction, error: ChainError) -> Self {
        match (error, direction) {
            (ChainError::Interrupted(interrupt), _) => interrupt.into(),
            (ChainError::TooLarge, Direction::Request) => Self::Error(ProxyError::RequestTooLarge),
            (ChainError::TooLarge, Direction::Response) => Self::Error(ProxyError::ResponseTooLarge),
            (ChainError::Input(error), Direction::Request) => Self::Error(ProxyError::RequestBody(error.0)),
            (ChainError::Input(error), Direction::Response) => Self::Error(ProxyError::BadResponse(error.0)),
            (ChainError::LengthChanged, _) => {
                Self::Error(ProxyError::FilterOutput("the body's length changed after its head was sent".to_owned()))
            }
        }
    }
}
