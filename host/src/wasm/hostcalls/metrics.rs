//! Metrics of guests. A metric that cannot be had (too many, another kind, a bad name) is handed out as one that counts
//! nothing: SDKs panic on a refusal, and a filter should not fail for want of a counter.

use wasmtime::{Caller, Linker};

use super::{Refused, Status, hostcall};
use crate::state::{MetricError, MetricKind};
use crate::wasm::host_state::HostState;
use crate::wasm::limits::METRIC_NAME_BYTES;

/// The id of the metric that counts nothing.
const NOTHING: u32 = u32::MAX;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |caller: Caller<'_, HostState>, kind: u32, name: u32, name_size: u32, result: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let kind = parse_kind(kind).ok_or(Status::BadArgument)?;
                let name = memory.bytes(name, name_size)?;
                let name = String::from_utf8_lossy(&name[..name.len().min(METRIC_NAME_BYTES)]);
                let id = host.define_metric(kind, &name, &[]);
                guest.write_u32(result, id)
            })
        },
    )?;
    linker.func_wrap("env", "proxy_increment_metric", |caller: Caller<'_, HostState>, metric: u32, delta: i64| {
        hostcall(caller, |guest| {
            let host = guest.host();
            host.metric(metric)?.map_or(Ok(()), |id| host.services.metrics.increment(id, delta)).map_err(refused)
        })
    })?;
    linker.func_wrap("env", "proxy_record_metric", |caller: Caller<'_, HostState>, metric: u32, value: u64| {
        hostcall(caller, |guest| {
            let host = guest.host();
            host.metric(metric)?.map_or(Ok(()), |id| host.services.metrics.record(id, value)).map_err(refused)
        })
    })?;
    linker.func_wrap("env", "proxy_get_metric", |caller: Caller<'_, HostState>, metric: u32, result: u32| {
        hostcall(caller, |guest| {
            let host = guest.host();
            let value = host.metric(metric)?.map_or(Ok(0), |id| host.services.metrics.get(id)).map_err(refused)?;
            guest.write_u64(result, value)
        })
    })?;
    Ok(())
}

/// `proxy_metric_type_t`
pub(super) fn parse_kind(kind: u32) -> Option<MetricKind> {
    match kind {
        0 => Some(MetricKind::Counter),
        1 => Some(MetricKind::Gauge),
        2 => Some(MetricKind::Histogram),
        _ => None,
    }
}

fn refused(error: MetricError) -> Refused {
    match error {
        MetricError::Unknown => Status::NotFound.into(),
        _ => Status::BadArgument.into(),
    }
}

impl HostState {
    /// Defines a metric, or finds it; the id is for this instance only.
    pub(super) fn define_metric(&mut self, kind: MetricKind, name: &str, labels: &[(String, String)]) -> u32 {
        let id = self.services.metrics.define(&self.spec().plugin.name, kind, name, labels);
        if let Some(id) = id.ok().and_then(|id| self.metrics.hand_out(id)) {
            return id;
        }
        if self.log.may_warn() {
            let name = crate::wasm::log::printable(name.as_bytes(), 64);
            tracing::warn!(
                filter = &*self.spec().name,
                name = &*name,
                "A metric of a filter cannot be had; it counts nothing."
            );
        }
        NOTHING
    }
    /// The process's id of a metric that this instance has defined; `None` for the one that counts nothing.
    fn metric(&self, metric: u32) -> Result<Option<u32>, Status> {
        if metric == NOTHING {
            return Ok(None);
        }
        self.metrics.real(metric).map(Some).ok_or(Status::NotFound)
    }
}
