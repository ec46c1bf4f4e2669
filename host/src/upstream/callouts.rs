//! Callouts: the calls of one filter on one worker, sent over the worker's own upstream connections. Those over gRPC are
//! in [`super::grpc`].

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};

use super::{Journey, RequestBody, ResponseBody, Upstream, UpstreamError, Upstreams, grpc};
use crate::filter::{Callout, CalloutRefused, CalloutReply, Callouts, GrpcCall, GrpcEvent, GrpcStream, Headers, Name};

/// What the guest reads when nothing could be reached.
const UNREACHABLE: &str = "upstream connect error or disconnect before headers";
/// What the guest reads when time was up.
const TIMED_OUT: &str = "upstream request timeout";
/// What the guest reads when the answer passed the limit.
const TOO_LARGE: &str = "upstream response too large";

/// Starts the callouts of one filter and counts those that are open.
pub struct WorkerCallouts {
    upstreams: Rc<Upstreams>,
    /// Most body bytes of an answer.
    body_limit: usize,
    /// Most open calls.
    limit: usize,
    open: Rc<Cell<usize>>,
}

impl WorkerCallouts {
    /// Callouts to `upstreams`; which of them the filter may call is checked by the caller. `limit`: open calls,
    /// `body_limit`: bytes of an answer's body.
    #[must_use]
    pub fn new(upstreams: Rc<Upstreams>, limit: usize, body_limit: usize) -> Self {
        Self { upstreams, body_limit, limit, open: Rc::default() }
    }
}

impl WorkerCallouts {
    /// The upstream of that name, while there is room for one more call.
    fn admit(&self, upstream: &str) -> Result<Rc<Upstream>, CalloutRefused> {
        let upstream = self
            .upstreams
            .get(upstream)
            .filter(|upstream| !upstream.is_tcp())
            .ok_or(CalloutRefused::UnknownUpstream)?;
        if self.open.get() >= self.limit { Err(CalloutRefused::TooMany) } else { Ok(Rc::clone(upstream)) }
    }
}

impl Callouts for WorkerCallouts {
    fn start(&self, call: Callout, done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused> {
        let upstream = self.admit(&call.upstream)?;
        let timeout = call.timeout;
        let request = request(call).map_err(CalloutRefused::BadRequest)?;
        let open = Open::new(&self.open);
        let body_limit = self.body_limit;
        tokio::task::spawn_local(async move {
            let reply = exchange(&upstream, request, timeout, body_limit).await;
            drop(open);
            done(reply);
        });
        Ok(())
    }
    fn open_grpc(
        &self,
        call: GrpcCall,
        events: Box<dyn FnMut(GrpcEvent)>,
    ) -> Result<Box<dyn GrpcStream>, CalloutRefused> {
        let upstream = self.admit(&call.upstream)?;
        let stream = grpc::open(upstream, call, self.body_limit, Open::new(&self.open), events)?;
        Ok(Box::new(stream))
    }
}

/// Counts one open call.
pub(super) struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Writes a callout as a request; framing and hop-by-hop fields are ours.
fn request(call: Callout) -> Result<Request<RequestBody>, String> {
    let pseudo = |name: Name| call.headers.get(&name).cloned().ok_or_else(|| format!("{} is missing", name.as_str()));
    let (method, path, authority) = (pseudo(Name::Method)?, pseudo(Name::Path)?, pseudo(Name::Authority)?);
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let uri = Uri::try_from(path.as_bytes()).map_err(|error| format!(":path: {error}"))?;
    if uri.path_and_query().is_none_or(|path| !path.as_str().starts_with('/')) || uri.authority().is_some() {
        return Err(":path: not a path".to_owned());
    }
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let mut trailers = HeaderMap::new();
    fields(call.headers, headers);
    fields(call.trailers, &mut trailers);
    headers.insert(header::HOST, authority);
    if !trailers.is_empty() {
        for name in trailers.keys() {
            headers.append(header::TRAILER, HeaderValue::from(name.clone()));
        }
        let body = Full::new(call.body).with_trailers(std::future::ready(Some(Ok(trailers))));
        *request.body_mut() = RequestBody::Stream(Box::pin(body.map_err(|never| match never {})));
    } else if !call.body.is_empty() {
        *request.body_mut() = RequestBody::Full(call.body);
    }
    Ok(request)
}

pub(super) fn fields(list: Headers, map: &mut HeaderMap) {
    for field in list {
        if let Name::Header(name) = field.name
            && !is_ours(&name)
        {
            map.append(name, field.value);
        }
    }
}

/// Fields that the gateway writes itself.
fn is_ours(name: &http::HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "upgrade"
            | "trailer"
    )
}

async fn exchange(
    upstream: &Upstream,
    request: Request<RequestBody>,
    timeout: Option<Duration>,
    body_limit: usize,
) -> CalloutReply {
    let answer = async {
        let response = upstream.send(request, &Journey::default()).await?;
        collect(response, body_limit).await
    };
    let answer = match timeout {
        Some(timeout) => match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => return made(StatusCode::GATEWAY_TIMEOUT, TIMED_OUT, "timeout".to_owned()),
        },
        None => answer.await,
    };
    match answer {
        Ok(reply) => reply,
        Err(CalloutError::TooLarge) => {
            made(StatusCode::SERVICE_UNAVAILABLE, TOO_LARGE, "response too large".to_owned())
        }
        Err(CalloutError::Upstream(error)) => made(StatusCode::SERVICE_UNAVAILABLE, UNREACHABLE, error.to_string()),
        Err(CalloutError::Body(error)) => made(StatusCode::SERVICE_UNAVAILABLE, UNREACHABLE, error.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
enum CalloutError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Body(#[from] hyper::Error),
    #[error("the response is too large")]
    TooLarge,
}

/// Reads a whole response, up to `limit` body bytes.
async fn collect(response: Response<ResponseBody>, limit: usize) -> Result<CalloutReply, CalloutError> {
    let (parts, mut incoming) = response.into_parts();
    let mut headers = Headers::with_capacity(parts.headers.len() + 1);
    headers.append(Name::Status, status_value(parts.status));
    headers.extend_from_map(parts.headers);
    let mut body = BytesMut::new();
    let mut trailers = Headers::default();
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) if body.len() + data.len() > limit => return Err(CalloutError::TooLarge),
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(map) = frame.into_trailers() {
                    trailers.extend_from_map(map);
                }
            }
        }
    }
    Ok(CalloutReply { headers, body: body.freeze(), trailers, failure: None })
}

/// An answer that the gateway makes itself, in the shape that Envoy gives it: three fields and a short text.
fn made(status: StatusCode, text: &'static str, reason: String) -> CalloutReply {
    let mut headers = Headers::with_capacity(3);
    headers.append(Name::Status, status_value(status));
    headers.append(Name::Header(header::CONTENT_LENGTH), HeaderValue::from(text.len()));
    headers.append(Name::Header(header::CONTENT_TYPE), HeaderValue::from_static("text/plain"));
    CalloutReply {
        headers,
        body: Bytes::from_static(text.as_bytes()),
        trailers: Headers::default(),
        failure: Some(reason),
    }
}

fn status_value(status: StatusCode) -> HeaderValue {
    HeaderValue::from(status.as_u16())
}
