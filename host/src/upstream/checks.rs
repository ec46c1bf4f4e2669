//! Health checks: asks each target again and again whether it is well. One worker does it for all.

use std::borrow::Cow;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use prost::Message;

use super::target::Target;
use super::{RequestBody, Upstream};
use crate::config::balance::{HealthCheck, Probe};

/// Bytes of an answer that are read before its connection is closed instead of reused.
const ANSWER_BYTES: usize = 64 << 10;
/// Pauses differ by up to this share, so that targets are not all asked at the same moment.
const JITTER: f64 = 0.1;
/// `grpc.health.v1.HealthCheckResponse { status: SERVING }`, behind the five bytes that frame a message.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

/// Checks the targets of an upstream until it is gone, once nobody else does.
pub(super) fn start(upstream: &Rc<Upstream>, check: &HealthCheck) {
    tokio::task::spawn_local(stand_by(Rc::downgrade(upstream), check.interval));
}

/// Each worker has the upstream, and a new one takes over from an old one in its own time: all but one stand by.
async fn stand_by(upstream: Weak<Upstream>, interval: Duration) {
    loop {
        let Some(known) = upstream.upgrade() else { return };
        if let Some(duty) = known.targets.take_checks() {
            *known.checking.borrow_mut() = Some(duty);
            return watch_new(&known, known.balancer().targets());
        }
        drop(known);
        tokio::time::sleep(interval).await;
    }
}

/// Checks these targets too, if it is this worker that checks.
pub(super) fn watch_new<'a>(upstream: &Rc<Upstream>, targets: impl Iterator<Item = &'a Rc<Target>>) {
    let Some(check) = upstream.config.health.as_ref().filter(|_| upstream.checking.borrow().is_some()) else { return };
    for target in targets {
        tokio::task::spawn_local(watch(Rc::downgrade(upstream), Rc::downgrade(target), check.clone()));
    }
}

async fn watch(upstream: Weak<Upstream>, target: Weak<Target>, check: HealthCheck) {
    // The first answer counts at once.
    let mut in_a_row: Option<(bool, u32)> = None;
    loop {
        let (Some(upstream), Some(target)) = (upstream.upgrade(), target.upgrade()) else { return };
        let outcome = tokio::time::timeout(check.timeout, probe(&target, &check.probe)).await;
        let problem = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some("no answer in time".to_owned()),
        };
        let well = problem.is_none();
        let count = in_a_row.filter(|(before, _)| *before == well).map_or(1, |(_, count)| count.saturating_add(1));
        let enough = if well { check.healthy } else { check.unhealthy };
        if in_a_row.is_none() || count >= enough {
            tell(&upstream, &target, problem.as_deref());
        }
        in_a_row = Some((well, count));
        // Nothing of the upstream is held while waiting, so that it can go.
        drop((upstream, target));
        tokio::time::sleep(pause(check.interval)).await;
    }
}

fn tell(upstream: &Upstream, target: &Target, problem: Option<&str>) {
    if !target.health().set_failing(problem.is_some()) {
        return;
    }
    let (upstream, target) = (upstream.name(), target.name());
    match problem {
        Some(problem) => {
            tracing::warn!(%upstream, target, problem, "Target fails its health check and gets no requests.")
        }
        None => tracing::info!(%upstream, target, "Target is well and gets requests."),
    }
}

async fn probe(target: &Target, probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Connect => target.reach().await.map_err(|error| error.to_string()),
        Probe::Http { path, host, statuses } => {
            let host = host.as_deref().map_or_else(|| target.authority(), Cow::Borrowed);
            let request = request(Method::GET, path, &host, RequestBody::Empty)?;
            let response = target.send(request).await.map_err(|unsent| unsent.error.to_string())?;
            let status = response.status();
            // Read, so that the connection can be used again.
            drop(Limited::new(response.into_body(), ANSWER_BYTES).collect().await);
            if statuses.contains(&status.as_u16()) { Ok(()) } else { Err(format!("answered {status}")) }
        }
        Probe::Grpc { service } => {
            let mut request =
                request(Method::POST, "/grpc.health.v1.Health/Check", &target.authority(), question(service))?;
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
            let response = target.send(request).await.map_err(|unsent| unsent.error.to_string())?;
            let status = response.status();
            let answer =
                Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
            let well = status == StatusCode::OK && answer.to_bytes().starts_with(SERVING);
            if well { Ok(()) } else { Err("does not say that it is serving".to_owned()) }
        }
    }
}

fn request(method: Method, path: &str, host: &str, body: RequestBody) -> Result<Request<RequestBody>, String> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(host).map_err(|error| error.to_string())?);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("sluicegate-health-check"));
    Ok(request)
}

/// `grpc.health.v1.HealthCheckRequest`
#[derive(Message)]
struct Question {
    #[prost(string, tag = "1")]
    service: String,
}

/// The question about a service, as one message of gRPC.
fn question(service: &str) -> RequestBody {
    let message = Question { service: service.to_owned() }.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend(message);
    RequestBody::Full(Bytes::from(framed))
}

fn pause(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Question, RequestBody, question};

    #[test]
    fn a_service_is_asked_for_by_its_whole_name() {
        for length in [0, 1, 127, 128, 255, 256, 20_000] {
            let name = "s".repeat(length);
            let RequestBody::Full(bytes) = question(&name) else { panic!("it is at hand") };
            let (frame, message) = bytes.split_at(5);
            assert_eq!(frame[0], 0, "it is not compressed");
            assert_eq!(u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize, message.len());
            assert_eq!(Question::decode(message).unwrap().service, name);
        }
    }
}
