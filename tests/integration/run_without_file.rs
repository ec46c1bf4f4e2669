//! `sluicegate run --upstream`: a gateway from a few words.

use std::fs;

use http::Method;
use sluicegate_tests::site::{Output, replace};
use sluicegate_tests::wat::version_guest;
use sluicegate_tests::{Gateway, Origin, Site, Wat, wait};

async fn fails(site: Site, arguments: &'static [&'static str]) -> Output {
    tokio::task::spawn_blocking(move || site.run(arguments)).await.unwrap()
}

/// A filter that adds its name to a request header.
fn named(name: &str) -> Vec<u8> {
    let add = format!("(drop (call $add_header (i32.const 0) (text \"x-passed\") (text \"{name}\")))");
    Wat::new().doing("proxy_on_request_headers", &add).build()
}

#[tokio::test]
async fn everything_goes_to_the_upstream_through_the_plugins_in_order() {
    let origin = Origin::echo().await;
    let site = Site::empty();
    let elsewhere = site.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("second_one.wasm"), named("second")).unwrap();
    fs::write(site.folder().join("first.wasm"), named("first")).unwrap();
    let url = origin.url();
    let arguments = [
        "run",
        "--upstream",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--plugin",
        "first.wasm",
        "--plugin",
        "elsewhere/second_one.wasm",
    ];
    let gateway = Gateway::start_with(site, &arguments).await;
    gateway.request(Method::POST, "/any/path?x").body("body").send().await.expect(200);
    let seen = origin.last();
    assert_eq!((seen.target.as_str(), seen.header("x-passed").as_str()), ("/any/path?x", "first, second"));
    gateway.stop().await;
}

#[tokio::test]
async fn plugins_may_be_built_in_and_have_a_configuration() {
    let origin = Origin::echo().await;
    let site = Site::empty().script();
    let script = format!(
        "{}={}",
        site.plugin_file("script").display(),
        r#"{"request_headers": [{"set": ["request", "x-by", "script"]}]}"#
    );
    let cors = r#"cors={"origins": ["https://app.example"]}"#;
    let url = origin.url();
    let arguments = [
        "run",
        "--upstream",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--plugin",
        "log",
        "--plugin",
        cors,
        "--plugin",
        &script,
    ];
    let gateway = Gateway::start_with(site, &arguments).await;
    let answer = gateway.request(Method::GET, "/").header("origin", "https://app.example").send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(origin.last().header("x-by"), "script");
    let output = fails(
        Site::empty(),
        &["run", "--upstream", "http://127.0.0.1:9", "--plugin", "cors={}", "--plugin", "log={", "--plugin", "lgo"],
    )
    .await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("--plugin log: expected JSON behind \"=\""), "{}", output.stderr);
    let output = fails(
        Site::empty(),
        &["run", "--upstream", "http://127.0.0.1:9", "--plugin", "cors={}", "--plugin", "lgo={\"a\": 1}"],
    )
    .await;
    for said in ["--plugin cors: ", "origins", "--plugin lgo: ", "did you mean \"log\""] {
        assert!(output.stderr.contains(said), "{said:?} is not in {}", output.stderr);
    }
}

#[tokio::test]
async fn a_change_of_a_plugins_file_is_followed() {
    let origin = Origin::text("ok").await;
    let site = Site::empty();
    let file = site.folder().join("version.wasm");
    fs::write(&file, version_guest(1)).unwrap();
    let arguments = ["run", "--upstream", &origin.url(), "--listen", "127.0.0.1:0", "--plugin", "version.wasm"];
    let gateway = Gateway::start_with(site, &arguments).await;
    assert_eq!(gateway.get("/").await.expect(200).header("x-response-version"), "1");
    replace(&file, &version_guest(2));
    wait::eventually("the new version serves", || async {
        gateway.get("/").await.expect(200).header("x-response-version") == "2"
    })
    .await;
    replace(&file, b"not a module");
    gateway.wait_for_log("Change refused").await;
    assert_eq!(gateway.get("/").await.expect(200).header("x-response-version"), "2");
}

#[tokio::test]
async fn a_file_and_words_exclude_each_other() {
    for arguments in [
        &["run", "-c", "gateway.json", "--upstream", "http://127.0.0.1:9"][..],
        &["-c", "gateway.json", "run", "--upstream", "http://127.0.0.1:9"],
    ] {
        let output = fails(Site::empty(), arguments).await;
        assert_eq!(output.code, 2, "{}", output.text());
        assert!(output.stderr.contains("give it or --config, not both"), "{}", output.stderr);
    }
    let output = fails(Site::empty(), &["run", "--plugin", "a.wasm"]).await;
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("--upstream"), "{}", output.stderr);
}

#[tokio::test]
async fn every_wrong_word_is_named() {
    let output = fails(
        Site::empty(),
        &[
            "run",
            "--upstream",
            "127.0.0.1:9",
            "--listen",
            "8080",
            "--plugin",
            "a.txt",
            "--plugin",
            "b/x.wasm",
            "--plugin",
            "c/x.wasm",
        ],
    )
    .await;
    assert_eq!(output.code, 1);
    for said in [
        "--upstream: expected a URL",
        "did you mean \"http://127.0.0.1:9\"",
        "--listen: expected an address",
        "--plugin a.txt: expected a file such as",
        "--plugin: another file is the plugin \"x\", too",
    ] {
        assert!(output.stderr.contains(said), "{said:?} is not in {}", output.stderr);
    }
    let output = fails(Site::empty(), &["run", "--upstream", "http://127.0.0.1:9", "--plugin", "absent.wasm"]).await;
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.contains("--plugin absent.wasm: plugin \"absent\": cannot read absent.wasm"),
        "{}",
        output.stderr
    );
}
