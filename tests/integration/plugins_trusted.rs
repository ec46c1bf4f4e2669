//! Pins and signatures: a file that does not match never runs, and what ran before goes on.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sluicegate_tests::guests::digest;
use sluicegate_tests::site::Output;
use sluicegate_tests::{Gateway, Origin, Site, one_route, peers, wait::eventually, wat::version_guest};

fn config(target: &str, plugins: &Value) -> Value {
    let mut config = one_route(target, &json!([{ "use": "version" }]));
    config["plugins"] = plugins.clone();
    config
}

async fn check(site: Site) -> Output {
    tokio::task::spawn_blocking(move || site.check()).await.unwrap()
}

async fn version(gateway: &Gateway) -> String {
    gateway.get("/").await.expect(200).header("x-response-version")
}

#[tokio::test]
async fn a_pinned_plugin_runs_only_as_the_bytes_that_were_pinned() {
    let origin = Origin::text("ok").await;
    let pinned = |bytes: &[u8]| config(&origin.url(), &json!({ "sha256": { "version": digest(bytes) } }));
    let gateway = Site::new(&pinned(&version_guest(1))).plugin("version", version_guest(1)).start().await;
    assert_eq!(version(&gateway).await, "1");
    gateway.site().drop_in("version", version_guest(2));
    gateway.wait_for_log("plugins.sha256 pins").await;
    assert_eq!(version(&gateway).await, "1", "what ran before goes on");
    gateway.site().write(&pinned(&version_guest(2)));
    eventually("the pin is followed", || async { version(&gateway).await == "2" }).await;
}

#[tokio::test]
async fn a_plugin_that_is_not_the_pinned_one_is_refused_at_the_start() {
    let site = |plugins: &Value| Site::new(&config("http://127.0.0.1:9", plugins)).plugin("version", version_guest(1));
    let output = check(site(&json!({ "sha256": { "version": digest(b"another") } }))).await;
    assert_eq!(output.code, 1);
    let said = format!("plugin \"version\": its SHA-256 is {}, but plugins.sha256 pins", digest(&version_guest(1)));
    assert!(output.text().contains(&said), "{}", output.text());
    // A pin with a slip in its name would protect nothing.
    let output = check(site(&json!({ "sha256": { "versoin": digest(&version_guest(1)) } }))).await;
    assert_eq!(output.code, 1);
    let said = "plugins.sha256.versoin: there is no plugin \"versoin\"; did you mean \"version\"?";
    assert!(output.text().contains(said), "{}", output.text());
    // What is built in can be pinned, too.
    let output = check(site(&json!({ "sha256": { "cors": digest(b"another") } }))).await;
    assert_eq!(output.code, 0, "it is not in use: {}", output.text());
}

/// A key pair in `folder`, as `NAME.pub` and `NAME.sec`; the public key in one line.
fn key(minisign: &Path, folder: &Path, name: &str) -> String {
    let file = |extension: &str| folder.join(name).with_extension(extension);
    let mut make = Command::new(minisign);
    make.args(["-G", "-f", "-W", "-p"]).arg(file("pub")).arg("-s").arg(file("sec"));
    assert!(make.stdin(Stdio::null()).output().unwrap().status.success());
    std::fs::read_to_string(file("pub")).unwrap().lines().nth(1).unwrap().to_owned()
}

/// Signs a file, beside it.
fn sign(minisign: &Path, secret: &Path, file: &Path) {
    let mut make = Command::new(minisign);
    make.args(["-S", "-s"]).arg(secret).arg("-m").arg(file);
    assert!(make.stdin(Stdio::null()).output().unwrap().status.success());
}

#[tokio::test]
async fn with_keys_a_file_needs_a_signature_by_one_of_them() {
    let minisign = match peers::program("minisign") {
        Ok(minisign) => minisign,
        Err(reason) => return peers::skip("signatures", &reason),
    };
    let origin = Origin::text("ok").await;
    let keys = tempfile::tempdir().unwrap();
    let [own, other] = ["own", "other"].map(|name| key(&minisign, keys.path(), name));
    let secret = |name: &str| keys.path().join(name).with_extension("sec");
    let signed_by = |name: &str, site: &Site| sign(&minisign, &secret(name), &site.plugin_file("version"));
    let site = || Site::new(&config(&origin.url(), &json!({ "keys": [own] }))).plugin("version", version_guest(1));

    let output = check(site()).await;
    assert_eq!(output.code, 1);
    assert!(output.text().contains("version.wasm.minisig: No such file"), "{}", output.text());
    let stranger = site();
    signed_by("other", &stranger);
    let output = check(stranger).await;
    assert!(output.code == 1 && output.text().contains("by a known key"), "{} {other}", output.text());

    let signed = site();
    signed_by("own", &signed);
    let gateway = signed.start().await;
    assert_eq!(version(&gateway).await, "1");
    // The new file comes first, its signature later.
    gateway.site().drop_in("version", version_guest(2));
    gateway.wait_for_log("by a known key").await;
    assert_eq!(version(&gateway).await, "1", "what ran before goes on");
    signed_by("own", gateway.site());
    eventually("the signed file serves", || async { version(&gateway).await == "2" }).await;
}

#[tokio::test]
async fn a_pipe_in_place_of_a_signature_stops_nothing() {
    let origin = Origin::text("ok").await;
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let gateway = Site::new(&config(&origin.url(), &json!({}))).plugin("version", version_guest(1)).start().await;
    let pipe = gateway.site().plugin_file("version").with_extension("wasm.minisig");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    gateway.site().write(&config(&origin.url(), &json!({ "keys": [key] })));
    gateway.wait_for_log("this is not a file").await;
    std::fs::remove_file(&pipe).unwrap();
    gateway.reload(&config(&origin.url(), &json!({}))).await;
    assert_eq!(version(&gateway).await, "1");
    gateway.stop().await;
}
