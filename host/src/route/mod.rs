//! Request → route: the normal form of paths and hosts, conditions on requests, and the index over all routes.
//!
//! Knows configuration and the `http` types, no connection and no body.

pub mod accept;
pub mod host;
pub mod path;
pub mod refuse;
pub mod router;

pub use accept::RequestView;
pub use refuse::{Rank, Refusal};
pub use router::Router;

#[cfg(test)]
mod tests;
