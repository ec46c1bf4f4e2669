//! Hundreds of reloads that change everything that a configuration has, under load: nothing fails, each is taken over as a whole, and
//! nothing is left behind.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::load::Load;
use sluicegate_tests::tls::{Authority, Issued, TlsClient};
use sluicegate_tests::{Gateway, Origin, Site, process, wait};

use crate::tls::put;

const RELOADS: u64 = 500;
/// The first ones fill what stays filled: allocators, pools.
const WARM: u64 = 50;
const CONNECTIONS: usize = 8;
const MIB: u64 = 1 << 20;
/// Idle connections to upstreams differ by chance, reloads do not: one descriptor left by each would be hundreds.
const SPARE_DESCRIPTORS: usize = 2 * CONNECTIONS;

/// What changes from reload to reload.
struct Storm {
    origins: [Origin; 2],
    authority: Authority,
    issued: [Issued; 3],
    /// Listeners beside the first: with TLS, whose certificate changes; and one that comes and goes, with TLS and without.
    secure: SocketAddr,
    passing: SocketAddr,
}

impl Storm {
    async fn new() -> Self {
        let authority = Authority::new("Test");
        let issued = [(); 3].map(|()| authority.issue(&["a.test"]));
        let origins = [Origin::text("ok").await, Origin::text("ok").await];
        Self { origins, issued, authority, secure: process::free_address(), passing: process::free_address() }
    }
    fn certificate(&self, round: u64) -> &Issued {
        &self.issued[usize::try_from(round % 3).unwrap()]
    }
    fn config(&self, round: u64) -> Value {
        let name = format!("c{}", round % 3);
        let tls = json!({ "certificates": [{ "certificate": format!("{name}.pem"), "key": format!("{name}.key") }] });
        let mut listeners = vec![json!({ "address": "127.0.0.1:0" }), json!({ "address": self.secure, "tls": tls })];
        match round % 4 {
            0 => {}
            1 => listeners.push(json!({ "address": self.passing, "tls": tls })),
            _ => listeners.push(json!({ "address": self.passing })),
        }
        let upstream = format!("upstream-{round}");
        let route = |path: String| {
            json!({
                "name": path, "match": { "path": path }, "upstream": upstream,
                "response_headers": { "set": { "x-round": round.to_string() } },
            })
        };
        let more = (0..round % 7).map(|number| route(format!("/more-{round}-{number}")));
        json!({
            "listeners": listeners,
            "upstreams": { &upstream: { "targets": [self.origins[usize::try_from(round % 2).unwrap()].url()] } },
            "routes": std::iter::once(route("/".to_owned())).chain(more).collect::<Vec<_>>(),
        })
    }
    /// That a reload is in force, everywhere.
    async fn holds(&self, round: u64, gateway: &Gateway) {
        let expected = round.to_string();
        assert_eq!(gateway.get("/").await.expect(200).header("x-round"), expected);
        let client = TlsClient::trusting(&self.authority).build();
        let mut secure = client.open(self.secure, "a.test").await.unwrap();
        assert_eq!(secure.certificate, self.certificate(round).der, "the certificate of round {round}");
        assert_eq!(secure.connection.get("/").await.expect(200).header("x-round"), expected);
        let passing = match round % 4 {
            0 => return assert!(tokio::net::TcpStream::connect(self.passing).await.is_err(), "round {round}"),
            1 => client.get(self.passing, "a.test").await.unwrap(),
            _ => Call::new(self.passing, Method::GET, "/").send().await,
        };
        assert_eq!(passing.expect(200).header("x-round"), expected);
    }
}

/// Clients beside the kept connections: one that opens a connection for each request, one on HTTP/2 over TLS.
struct Others {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Others {
    async fn start(storm: &Storm, gateway: &Gateway) -> Self {
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let client = TlsClient::trusting(&storm.authority).alpn(&["h2"]).build();
        let mut kept = client.open(storm.secure, "a.test").await.unwrap().connection;
        let address = gateway.address();
        let (done, count) = (Arc::clone(&stop), Arc::clone(&served));
        let over_tls = tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                kept.get("/").await.expect(200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (done, count) = (Arc::clone(&stop), Arc::clone(&served));
        let fresh = tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                Call::new(address, Method::GET, "/").send().await.expect(200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, served, tasks: vec![over_tls, fresh] }
    }
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no request fails, and no kept connection is closed");
        }
        self.served.load(Ordering::Relaxed)
    }
}

fn load(gateway: &Gateway) -> Load {
    Load::start(gateway.address(), CONNECTIONS, "/", |response| {
        let round = response.header("x-round").parse::<u64>();
        if response.code() == 200 && response.text() == "ok" && round.is_ok() {
            Ok(())
        } else {
            Err(format!("{response:?}"))
        }
    })
}

/// What stays open and in memory when load has come and gone.
async fn footprint(gateway: &Gateway) -> (usize, u64) {
    let load = load(gateway);
    load.advance(1000).await;
    load.stop().await;
    (process::descriptors(gateway.pid()), gateway.resident())
}

/// That series of what earlier configurations named are gone.
async fn only_the_last_is_told_of(gateway: &Gateway, round: u64) {
    let text = gateway.admin_get("/metrics").await.text();
    let quoted = text.lines().flat_map(|line| line.split('"'));
    let names: BTreeSet<&str> =
        quoted.filter(|word| ["upstream-", "/more-"].iter().any(|name| word.starts_with(name))).collect();
    assert!(names.contains(&*format!("upstream-{round}")), "{names:?}");
    let old = names.iter().filter(|name| name.split('-').nth(1) != Some(&*round.to_string()));
    assert_eq!(old.count(), 0, "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_reloads_under_load_fail_nothing_and_leave_nothing_behind() {
    let storm = Storm::new().await;
    let site = Site::new(&storm.config(0));
    for (number, issued) in storm.issued.iter().enumerate() {
        put(&site, &format!("c{number}"), issued);
    }
    let gateway = site.start().await;
    storm.holds(0, &gateway).await;
    let mut before = (0, 0);
    let first = gateway.generation().await;
    let mut clients = (load(&gateway), Others::start(&storm, &gateway).await);
    let mut served = 0;
    for round in 1..=RELOADS {
        gateway.reload(&storm.config(round)).await;
        storm.holds(round, &gateway).await;
        if round == WARM {
            served += clients.0.stop().await + clients.1.stop().await;
            before = footprint(&gateway).await;
            clients = (load(&gateway), Others::start(&storm, &gateway).await);
        }
    }
    served += clients.0.stop().await + clients.1.stop().await;
    assert_eq!(gateway.generation().await, first + RELOADS, "each reload is one generation");
    assert_eq!(gateway.log.count("Change refused"), 0);
    let after = footprint(&gateway).await;
    only_the_last_is_told_of(&gateway, RELOADS).await;
    println!("{served} requests over {RELOADS} reloads; descriptors and memory {before:?} → {after:?}");
    assert!(served > RELOADS, "only {served} requests were served meanwhile");
    wait::eventually("descriptors are given back", || {
        std::future::ready(process::descriptors(gateway.pid()) <= before.0 + SPARE_DESCRIPTORS)
    })
    .await;
    let grown = after.1.saturating_sub(before.1);
    assert!(grown < 16 * MIB, "the reloads left {} KiB behind", grown / 1024);
    gateway.stop().await;
}

#[tokio::test]
async fn series_end_when_no_configuration_in_force_names_their_route_or_upstream() {
    let release = Arc::new(tokio::sync::Notify::new());
    let gate = Arc::clone(&release);
    let origin = Origin::start(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            sluicegate_tests::origin::answer(200, "late")
        }
    })
    .await;
    let named = |name: &str| {
        json!({
            "upstreams": { format!("up-{name}"): { "targets": [origin.url()] } },
            "routes": [{ "name": format!("at-{name}"), "match": { "path": "/" }, "upstream": format!("up-{name}") }],
        })
    };
    let gateway = Site::new(&named("old")).start().await;
    let slow = tokio::spawn(gateway.request(Method::GET, "/").send());
    origin.wait_for(1).await;
    gateway.reload(&named("new")).await;
    let active = gateway.metric("sluicegate_http_server_active_requests", &[("route", "at-old")]).await;
    assert!(active > 0.5, "a request that is on its way is still told of");
    release.notify_one();
    slow.await.unwrap().expect(200);
    release.notify_one();
    gateway.get("/").await.expect(200);
    gateway.reload(&named("third")).await;
    let text = gateway.admin_get("/metrics").await.text();
    let old = text.lines().filter(|line| ["-old\"", "-new\""].iter().any(|name| line.contains(name)));
    assert_eq!(old.collect::<Vec<_>>(), Vec::<&str>::new());
}
