//! The metrics of targets: which get requests, and how resolving their names goes.

use std::borrow::Cow;
use std::fmt;

use super::exposition::{Labels, Page};
use crate::state::targets::{NameReport, RESULTS, TargetReport};

pub(super) fn write(page: &mut Page<'_>, targets: &[TargetReport], names: &[NameReport]) -> fmt::Result {
    let labels = |report: &TargetReport| -> Labels<'static> {
        let owned = |text: &str| Cow::Owned(text.to_owned());
        vec![
            ("upstream", owned(&report.upstream)),
            ("target", owned(&report.target)),
            ("address", owned(&report.address)),
        ]
    };
    let gets = targets.iter().map(|report| (labels(report), i64::from(!report.failing && !report.ejected)));
    page.gauge(
        "upstream_target_usable",
        "Whether a target gets requests: 0 while it fails checks or is left out",
        gets,
    )?;
    let labels = |report: &NameReport| -> Labels<'static> {
        vec![("upstream", Cow::Owned(report.upstream.to_string())), ("target", Cow::Owned(report.target.clone()))]
    };
    let addresses = names.iter().map(|name| (labels(name), i64::try_from(name.addresses.len()).unwrap_or(i64::MAX)));
    page.gauge("dns_addresses", "Addresses that the name of a target has", addresses)?;
    let counts = names.iter().flat_map(|name| {
        RESULTS.into_iter().zip(name.counts).map(|(result, count)| {
            let mut labels = labels(name);
            labels.push(("result", result.into()));
            (labels, count)
        })
    });
    page.counter("dns_resolutions", "How often the names of targets were asked for", counts)
}
