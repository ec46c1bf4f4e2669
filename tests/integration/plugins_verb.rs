//! `sluicegate plugins`: what there is, and what a file is.

use serde_json::{Value, json};
use sluicegate_tests::site::Output;
use sluicegate_tests::{Site, Wat, guests, one_route, wat::version_guest};

async fn run(site: Site, arguments: &'static [&'static str]) -> Output {
    tokio::task::spawn_blocking(move || site.run(arguments)).await.unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.text()))
}

#[tokio::test]
async fn the_list_has_files_and_what_is_built_in_with_their_uses() {
    let filters =
        json!([{ "use": "version" }, { "use": "cors", "config": { "origins": ["*"] } }, { "use": "version" }]);
    let site = || {
        Site::new(&one_route("http://127.0.0.1:9", &filters))
            .plugin("version", version_guest(1))
            .plugin("transform", version_guest(2))
    };
    let output = run(site(), &["plugins", "list", "-o", "json"]).await;
    assert_eq!(output.code, 0, "{}", output.text());
    let list = json_of(&output);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["auth", "cors", "log", "rate-limit", "transform", "version"]);
    assert_eq!(list[1]["file"], Value::Null);
    assert_eq!(list[1]["used_by"], json!(["routes[0].filters[1]"]));
    assert!(list[4]["file"].as_str().unwrap().ends_with("plugins/transform.wasm"), "a file wins over what is built in");
    assert_eq!(list[5]["used_by"], json!(["routes[0].filters[0]", "routes[0].filters[2]"]));
    let text = run(site(), &["plugins", "list"]).await.stdout;
    assert_eq!(text.lines().count(), 7, "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("cors ")
            && line.contains("built in")
            && line.contains("routes[0].filters[1]"))
    );
}

#[tokio::test]
async fn a_file_that_is_no_plugin_is_listed_with_the_reason() {
    let site = Site::new(&one_route("http://127.0.0.1:9", &json!([]))).plugin("broken", b"not a module");
    let output = run(site, &["plugins", "list"]).await;
    assert_eq!(output.code, 0);
    assert!(output.stdout.contains("does not load: it is not WebAssembly"), "{}", output.stdout);
}

#[tokio::test]
async fn a_list_for_a_broken_configuration_says_what_is_wrong_with_it() {
    let site = Site::empty();
    site.write_text("{ \"routs\": [] }");
    let output = run(site, &["plugins", "list"]).await;
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("routs: unknown key"), "{}", output.stderr);
}

#[tokio::test]
async fn a_module_of_the_sdk_shows_its_schema_callbacks_and_makers() {
    let site = Site::empty().plugin("log", guests::bundled("log"));
    let report = json_of(&run(site, &["plugins", "inspect", "plugins/log.wasm", "-o", "json"]).await);
    assert_eq!(report["valid"], true);
    assert_eq!(report["abi"], json!(["0.2.1"]));
    assert_eq!(report["callbacks"], json!(["finish"]));
    assert!(report["sdk"].is_string() && report["schema"]["properties"]["sample"].is_object(), "{report}");
    assert!(report["producers"].as_array().unwrap().iter().any(|made| made.as_str().unwrap().starts_with("rustc")));
    assert!(report["imports"].as_array().unwrap().contains(&json!("env.proxy_log")), "{report}");
    assert!(report["sections"].as_array().unwrap().iter().any(|section| section["name"] == "code"));
    assert_eq!(report["digest"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn an_import_that_the_host_does_not_have_is_named() {
    let guest = Wat::new().import("(import \"env\" \"proxy_teleport\" (func $teleport (param i32)))").build();
    let site = Site::empty().plugin("odd", guest);
    let output = run(site, &["plugins", "inspect", "plugins/odd.wasm"]).await;
    assert_eq!(output.code, 0, "{}", output.text());
    assert!(output.stdout.contains("unsupported  env.proxy_teleport"), "{}", output.stdout);
    assert!(output.stdout.ends_with("verdict      loads\n"), "{}", output.stdout);
}

#[tokio::test]
async fn what_is_no_plugin_is_told_why_with_1() {
    for (bytes, why) in [
        (&b"not a module"[..], "it is not WebAssembly"),
        (b"", "it is empty"),
        (b"\0asm\x01\0\0\0", "it exports no memory"),
    ] {
        let output = run(Site::empty().plugin("odd", bytes), &["plugins", "inspect", "plugins/odd.wasm"]).await;
        assert_eq!(output.code, 1);
        assert!(output.stdout.contains(&format!("does not load: {why}")), "{}", output.stdout);
    }
    let output = run(Site::empty(), &["plugins", "inspect", "absent.wasm"]).await;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("absent.wasm"), "{}", output.stderr);
}

#[tokio::test]
async fn what_is_built_in_is_inspected_by_its_name() {
    let output = run(Site::empty(), &["plugins", "inspect", "auth"]).await;
    assert_eq!(output.code, 0, "{}", output.text());
    assert!(output.stdout.contains("callbacks    request_headers"), "{}", output.stdout);
    let imports: Vec<&str> = output.stdout.lines().skip_while(|line| !line.starts_with("imports")).collect();
    assert_eq!(
        imports[0..2],
        ["imports      log", "               proxy_log"],
        "one a line, by area: {}",
        output.stdout
    );
}
