//! Sockets → requests: binds, accepts, spreads connections over the workers, serves HTTP/1.1 and HTTP/2, with TLS or without, with their
//! limits and timeouts, drains. Connections of TCP listeners go on as bytes. What a request is answered with, and what becomes of the
//! bytes, is the proxy's business.

mod accept;
mod arrived;
mod balance;
mod bind;
mod clients;
pub mod descriptors;
mod drain;
mod floods;
mod http1;
mod io;
mod proxied;
mod serve;
mod socket;
mod strict;
mod tcp;
mod tls;

#[cfg(any(test, fuzzing))]
pub(crate) use strict::fuzz;

pub use accept::{Sockets, Worker};
pub use balance::{Balance, Handed};
pub use bind::{bind, bind_all, bind_beside, overlap};
pub use drain::{Drain, DrainSignal};
pub use tls::{Finding, Termination, Terminations};
