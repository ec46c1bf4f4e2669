//! The filter through its harness: every option.

pub(crate) mod tokens;
