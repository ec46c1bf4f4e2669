//! The conformance cases: small filters, most of them as scripts, with requests, run by this gateway and by Envoy and compared.
//!
//! `tests/conformance/AREA.json` is a list of cases. Each has a `name`, a `script` for the scripted filter (none for the
//! filters in other languages), and `requests`
//! (`method`, `path`, `headers`, `body`; a plain GET when left out). `until` names a response header and the value that it
//! takes at last (a regular expression), for what happens between requests. Where the two hosts differ, `differs` says why, and how each answers.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::Method;
use regex::Regex;
use serde_json::{Value, json};

use crate::client::Call;
use crate::envoy::{Envoy, Setup, WasmFilter};
use crate::origin::{self, Origin};
use crate::wait::until;
use crate::{Gateway, Response, Site};

/// One case.
struct Case {
    name: String,
    script: Value,
    requests: Vec<Value>,
    until: Option<(String, String)>,
    /// What this gateway answers and what Envoy does, as parts of the answers.
    differs: Option<(Value, Value)>,
}

/// A status, headers and a body as they are compared.
pub type Answer = Value;

/// Runs the cases of an area with a filter in this gateway, and in Envoy, and compares.
///
/// # Panics
/// They answer differently, or a case is not written well.
pub async fn compare(area: &str, envoy: PathBuf, module: &[u8]) {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(format!("{area}.json"));
    let text = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{area}: {error}"));
    let cases: Vec<Case> = cases.iter().map(Case::parse).collect();
    let (origin, side) = (Origin::echo().await, side().await);
    let gateway = gateway(&cases, &origin, &side, module).await;
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("filter.wasm");
    fs::write(&file, module).expect("there is room for a file");
    let envoy = start_envoy(envoy, &cases, &origin, &side, &file).await;
    for (number, case) in cases.iter().enumerate() {
        let ours = case.run(gateway.address(), Some(number)).await;
        let theirs = case.run(envoy.addresses()[number], None).await;
        let what =
            || format!("{area}: {}\nours {ours:#?}\ntheirs {theirs:#?}\nEnvoy's log:\n{}", case.name, envoy.log.tail());
        match &case.differs {
            None => assert!(ours == theirs, "{}", what()),
            Some((our, their)) => {
                assert!(contains(ours.last(), our) && contains(theirs.last(), their), "{}", what());
                assert!(ours != theirs, "it does not differ any more: {}", what());
            }
        }
    }
}

/// A service that filters call: `/slow` never answers, `/teapot` is one, everything else echoes.
async fn side() -> Origin {
    Origin::start(|seen| async move {
        match seen.target.as_str() {
            "/slow" => std::future::pending().await,
            "/teapot" => origin::with(origin::answer(418, "short and stout"), &[("x-kind", "teapot")]),
            _ => origin::answer(200, format!("{} {} {}", seen.method, seen.target, seen.text())),
        }
    })
    .await
}

/// One gateway for all cases: the host chooses.
async fn gateway(cases: &[Case], origin: &Origin, side: &Origin, module: &[u8]) -> Gateway {
    let route = |(number, case): (usize, &Case)| {
        let entry = json!({ "use": format!("script-{number}"), "config": case.script, "upstreams": ["side", "dead"], "pause": "stop_iteration" });
        json!({ "match": { "hosts": [host(number)] }, "filters": [entry], "upstream": "origin" })
    };
    let config = json!({
        "limits": { "workers": 1 },
        "upstreams": {
            "origin": { "targets": [origin.url()] },
            "side": { "targets": [side.url()] },
            "dead": { "targets": ["http://127.0.0.1:1"] },
        },
        "routes": cases.iter().enumerate().map(route).collect::<Vec<_>>(),
    });
    let site =
        (0..cases.len()).fold(Site::new(&config), |site, number| site.plugin(&format!("script-{number}"), module));
    site.start().await
}

async fn start_envoy(binary: PathBuf, cases: &[Case], origin: &Origin, side: &Origin, file: &Path) -> Envoy {
    let chain = |(number, case): (usize, &Case)| {
        vec![WasmFilter { name: format!("script-{number}"), file: file.to_owned(), config: case.script.to_string() }]
    };
    let dead = SocketAddr::from(([127, 0, 0, 1], 1));
    let setup = Setup {
        binary,
        clusters: vec![("origin".into(), origin.address()), ("side".into(), side.address()), ("dead".into(), dead)],
        http2_clusters: Vec::new(),
        chains: cases.iter().enumerate().map(chain).collect(),
        core: None,
    };
    Envoy::start(&setup).await
}

fn host(number: usize) -> String {
    format!("case-{number}.example")
}

impl Case {
    fn parse(case: &Value) -> Self {
        let name = case["name"].as_str().expect("a case has a name").to_owned();
        let pair = |value: &Value| Some((value[0].as_str()?.to_owned(), value[1].as_str()?.to_owned()));
        let differs = case.get("differs").map(|differs| {
            assert!(differs["why"].is_string(), "{name}: a difference has a reason");
            (differs["ours"].clone(), differs["theirs"].clone())
        });
        Self {
            name,
            script: case["script"].clone(),
            requests: case["requests"].as_array().cloned().unwrap_or_else(|| vec![json!({})]),
            until: case.get("until").and_then(pair),
            differs,
        }
    }
    /// Sends the requests one after the other. `number` chooses the route where one address serves all cases.
    async fn run(&self, address: SocketAddr, number: Option<usize>) -> Vec<Answer> {
        let mut answers = Vec::new();
        for request in &self.requests {
            let send = || send(address, number, request);
            answers.push(match &self.until {
                None => essence(&send().await),
                Some((name, value)) => {
                    let pattern = Regex::new(&format!("^(?:{value})$")).expect("a pattern");
                    let look =
                        || async { Some(send().await).filter(|response| pattern.is_match(&response.header(name))) };
                    let mut answer = essence(&until(&self.name, look).await);
                    answer["headers"][name.as_str()] = json!(value);
                    answer
                }
            });
        }
        answers
    }
}

async fn send(address: SocketAddr, number: Option<usize>, request: &Value) -> Response {
    let method = Method::from_bytes(request["method"].as_str().unwrap_or("GET").as_bytes()).expect("a method");
    let mut call = Call::new(address, method, request["path"].as_str().unwrap_or("/"));
    call = call.header("host", &host(number.unwrap_or(0)));
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        call = call.header(name, value.as_str().expect("a header is a text"));
    }
    if let Some(body) = request["body"].as_str() {
        call = call.body(body.to_owned());
    }
    call.send().await
}

/// What every proxy says in its own way.
fn is_own(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "date",
        "server",
        "via",
        "connection",
        "transfer-encoding",
        "content-length",
        "forwarded",
        "te",
        "x-request-id",
    ];
    NAMES.contains(&name) || name.starts_with("x-envoy-") || name.starts_with("x-forwarded-")
}

/// What must be the same: status, the headers that are not a proxy's own, the body. Of an echo, the same of the request.
#[must_use]
pub fn essence(response: &Response) -> Answer {
    let names = response.headers.keys().map(ToString::to_string).filter(|name| !is_own(name));
    let headers: BTreeMap<_, _> = names.map(|name| (name.clone(), response.header(&name))).collect();
    let mut body = serde_json::from_slice(&response.body).unwrap_or_else(|_| Value::String(response.text()));
    if let Some(echoed) = body.get_mut("headers").and_then(Value::as_object_mut) {
        echoed.retain(|name, _| !is_own(name));
        // Cases have hosts of their own where one address serves all.
        if let Some(host) =
            echoed.get_mut("host").filter(|host| host.as_str().is_some_and(|host| host.starts_with("case-")))
        {
            *host = json!("case.example");
        }
    }
    json!({ "status": response.code(), "headers": headers, "body": body })
}

/// Whether an answer has all that a pattern has.
fn contains(answer: Option<&Value>, pattern: &Value) -> bool {
    match (answer, pattern) {
        (Some(Value::Object(answer)), Value::Object(pattern)) => {
            pattern.iter().all(|(key, pattern)| contains(answer.get(key), pattern))
        }
        (None, Value::Null) => true,
        (Some(answer), pattern) => answer == pattern,
        (None, _) => false,
    }
}
