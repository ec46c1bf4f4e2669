//! What the gateway tells about itself: ledgers (counts that the request path raises), their exposition, logs, reasons.
//!
//! A **ledger** belongs to one thing (a filter entry, a route, an upstream, the gateway) and is found once, when a generation is
//! built. Raising its counts takes no lock, no look-up and no formatting; whoever looks pays for the sums. Access
//! logs are written by a plugin, not here.

mod exposition;
mod filter;
mod gateway;
mod handshake;
mod histogram;
pub mod logging;
mod memory;
pub mod output;
mod reason;
mod sharded;
mod sparing;
mod targets;
mod tcp;
mod traffic;

pub use exposition::{CONTENT_TYPE, render};
pub use filter::{FAULTS, FilterLedger, FilterSnapshot, OUTCOMES, PHASES, PhaseSnapshot, Trap};
pub use gateway::{GatewayLedger, SwapResult};
pub use handshake::HandshakeFailure;
pub use histogram::Distribution;
pub use reason::Reason;
pub use sparing::Sparing;
pub use tcp::{TcpEnd, TcpLedger};
pub use traffic::{RouteLedger, UpstreamLedger};
