//! Sockets → requests: binds, accepts, spreads connections over the workers, serves HTTP/1.1 and cleartext HTTP/2 with their
//! limits and timeouts, drains. What a request is answered with is the proxy's business.

mod accept;
mod balance;
mod bind;
pub mod descriptors;
mod drain;
mod io;
mod serve;
mod strict;

#[cfg(any(test, fuzzing))]
pub(crate) use strict::fuzz;

pub use accept::{Sockets, Worker};
pub use balance::{Balance, Handed};
pub use bind::{bind, bind_all};
pub use drain::{Drain, DrainSignal};
