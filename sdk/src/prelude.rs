//! Everything a filter usually needs: `use sluicegate_sdk::prelude::*;`

pub use crate::config::{Config, Json, OneOrMany, Secret};
pub use crate::end::End;
pub use crate::error::{Error, Fault, OrReply, Result};
pub use crate::filter::Filter;
pub use crate::headers::{HeaderValue, Headers};
pub use crate::join::{join, join_all};
pub use crate::log::print_line;
pub use crate::reply::Reply;
pub use crate::request::{Chunk, Request};
pub use crate::response::Response;
pub use crate::state::{Counter, Decision, Kv, Window};
pub use crate::time::{now, sleep};
pub use crate::upstream::{CallBuilder, CallResponse, Upstream};
pub use crate::{bail, counter, debug, ensure, error, fault, filter, gauge, histogram, info, trace, warn};
pub use bytes::Bytes;
pub use serde::{Deserialize, Serialize};
pub use serde_json::json;
pub use sluicegate_sdk_macros::Config;
pub use std::time::Duration;
