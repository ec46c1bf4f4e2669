//! The plugins directory and the configuration file, changed in every way that people and tools change files.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use sluicegate_tests::wat::version_guest;
use sluicegate_tests::{Gateway, Origin, Site, Wat, one_route, wait};

async fn serving(version: u32) -> (Gateway, Origin) {
    let origin = Origin::text("ok").await;
    let site = Site::new(&one_route(&origin.url(), &json!([{ "use": "version" }])));
    (site.plugin("version", version_guest(version)).start().await, origin)
}

async fn version(gateway: &Gateway) -> String {
    gateway.get("/").await.expect(200).header("x-response-version")
}

async fn becomes(gateway: &Gateway, expected: &str) {
    wait::eventually("the new version serves", || async { version(gateway).await == expected }).await;
}

#[tokio::test]
async fn a_file_is_replaced_in_one_step() {
    let (gateway, _origin) = serving(1).await;
    gateway.site().drop_in("version", version_guest(2));
    becomes(&gateway, "2").await;
    gateway.site().drop_in("version", version_guest(1));
    becomes(&gateway, "1").await;
}

#[tokio::test]
async fn a_file_is_copied_slowly_over_the_old_one() {
    let (gateway, _origin) = serving(1).await;
    let new = version_guest(2);
    let mut file = File::create(gateway.site().plugin_file("version")).unwrap();
    for piece in new.chunks(new.len() / 20 + 1) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        for _ in 0..3 {
            assert_ne!(version(&gateway).await, "", "the plugin is always there");
        }
    }
    drop(file);
    becomes(&gateway, "2").await;
}

#[tokio::test]
async fn a_directory_is_exchanged_behind_a_link_as_a_config_map_is() {
    let origin = Origin::text("ok").await;
    let site = Site::new(&one_route(&origin.url(), &json!([{ "use": "version" }])));
    let plugins = site.folder().join("plugins");
    for number in [1, 2] {
        fs::create_dir(plugins.join(format!("..{number}"))).unwrap();
        fs::write(plugins.join(format!("..{number}/version.wasm")), version_guest(number)).unwrap();
    }
    symlink("..1", plugins.join("..data")).unwrap();
    symlink("..data/version.wasm", plugins.join("version.wasm")).unwrap();
    let gateway = site.start().await;
    assert_eq!(version(&gateway).await, "1");
    symlink("..2", plugins.join("..data_tmp")).unwrap();
    fs::rename(plugins.join("..data_tmp"), plugins.join("..data")).unwrap();
    becomes(&gateway, "2").await;
}

#[tokio::test]
async fn the_configuration_behind_a_link_is_followed_too() {
    let (one, two) = (Origin::text("one").await, Origin::text("two").await);
    let site = Site::empty();
    let spare = Site::new(&one_route(&one.url(), &json!([])));
    fs::rename(spare.config_file(), site.folder().join("one.json")).unwrap();
    spare.write(&one_route(&two.url(), &json!([])));
    fs::rename(spare.config_file(), site.folder().join("two.json")).unwrap();
    symlink("one.json", site.config_file()).unwrap();
    let gateway = site.start().await;
    assert_eq!(gateway.get("/").await.text(), "one");
    let folder = gateway.site().folder();
    symlink("two.json", folder.join("new")).unwrap();
    fs::rename(folder.join("new"), gateway.site().config_file()).unwrap();
    wait::eventually("the other configuration serves", || async { gateway.get("/").await.text() == "two" }).await;
}

#[tokio::test]
async fn a_plugin_dropped_in_wins_over_the_built_in_one_until_it_is_taken_out() {
    let origin = Origin::text("ok").await;
    let config = json!({ "origins": ["https://app.example"] });
    let gateway = Site::new(&one_route(&origin.url(), &json!([{ "use": "cors", "config": config }]))).start().await;
    assert_eq!(version(&gateway).await, "");
    gateway.site().drop_in("cors", version_guest(7));
    becomes(&gateway, "7").await;
    gateway.site().take_out("cors");
    becomes(&gateway, "").await;
}

#[tokio::test]
async fn underscores_and_dashes_in_a_plugins_name_are_the_same() {
    let origin = Origin::text("ok").await;
    let site = Site::new(&one_route(&origin.url(), &json!([{ "use": "my-version" }])));
    let gateway = site.plugin("my_version", version_guest(1)).start().await;
    assert_eq!(version(&gateway).await, "1");
}

/// Makes a change that must be refused: the log says so, naming `about`, and version 1 keeps serving.
async fn is_refused(about: &str, change: impl FnOnce(&Site)) {
    let (gateway, origin) = serving(1).await;
    let generation = gateway.generation().await;
    let from = gateway.log.len();
    change(gateway.site());
    let line = gateway.log.wait_from(from, about).await;
    assert!(line.contains("ERROR") || line.contains("WARN"), "an operator must see it: {line}");
    assert_eq!(version(&gateway).await, "1", "the old one keeps serving");
    assert_eq!(gateway.generation().await, generation);
    // And once it is mended, it is taken.
    gateway.site().write(&one_route(&origin.url(), &json!([{ "use": "version" }])));
    gateway.site().drop_in("version", version_guest(2));
    becomes(&gateway, "2").await;
    gateway.stop().await;
}

/// The configuration of [`serving`], changed.
fn edit(site: &Site, change: impl FnOnce(&mut Value)) {
    let text = fs::read_to_string(site.config_file()).unwrap();
    let mut config = serde_json::from_str(&text).unwrap();
    change(&mut config);
    site.write(&config);
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let whole = version_guest(2);
    is_refused("version\\\"", |site| site.drop_in("version", &whole[..whole.len() / 2])).await;
}

#[tokio::test]
async fn an_empty_file_and_one_that_is_no_module_are_refused() {
    is_refused("version\\\"", |site| site.drop_in("version", b"")).await;
    is_refused("version\\\"", |site| site.drop_in("version", b"#!/bin/sh\necho hello\n")).await;
}

#[tokio::test]
async fn a_module_without_a_needed_export_is_refused() {
    let module = Wat::new().without("proxy_on_memory_allocate");
    is_refused("version\\\"", |site| site.drop_in("version", module.build())).await;
}

#[tokio::test]
async fn a_module_that_refuses_its_configuration_is_refused() {
    let module = Wat::new()
        .on("proxy_on_configure", "(drop (call $log (i32.const 4) (text \"I do not like this\"))) (i32.const 0)");
    is_refused("I do not like this", |site| site.drop_in("version", module.build())).await;
}

#[tokio::test]
async fn a_module_that_traps_or_loops_at_its_start_is_refused() {
    let trap = Wat::new().on("proxy_on_vm_start", "unreachable");
    is_refused("proxy_on_vm_start", |site| site.drop_in("version", trap.build())).await;
    let spin = Wat::new().on("proxy_on_configure", "(loop $l (br $l)) (i32.const 1)");
    is_refused("proxy_on_configure", |site| site.drop_in("version", spin.build())).await;
}

#[tokio::test]
async fn a_plugin_that_is_in_use_and_nowhere_else_cannot_be_taken_away() {
    is_refused("version\\\"", |site| site.take_out("version")).await;
}

#[tokio::test]
async fn a_configuration_with_an_unknown_key_is_refused() {
    is_refused("upstrem", |site| edit(site, |config| config["routes"][0]["upstrem"] = json!("origin"))).await;
}

#[tokio::test]
async fn a_configuration_that_is_no_json_or_names_what_is_not_there_is_refused() {
    is_refused("gateway.json", |site| site.write_text("{ \"routes\": [")).await;
    is_refused("nowhere", |site| edit(site, |config| config["routes"][0]["upstream"] = json!("nowhere"))).await;
    is_refused("no-such-plugin", |site| edit(site, |config| config["filters"] = json!([{ "use": "no-such-plugin" }])))
        .await;
}

#[tokio::test]
async fn other_files_in_the_directory_are_left_alone() {
    let (gateway, _origin) = serving(1).await;
    let generation = gateway.generation().await;
    let plugins = gateway.site().folder().join("plugins");
    fs::write(plugins.join("README.md"), "hello").unwrap();
    fs::write(plugins.join("unused.wasm"), "not a module, and nobody asks for it").unwrap();
    fs::create_dir(plugins.join("folder.wasm")).unwrap();
    std::process::Command::new("mkfifo").arg(plugins.join("pipe.wasm")).status().unwrap();
    gateway.site().drop_in("version", version_guest(2));
    becomes(&gateway, "2").await;
    gateway.next_generation(generation).await;
}

#[tokio::test]
async fn functions_that_stay_the_same_call_what_is_meant_in_the_new_version() {
    let show = |function: &str| {
        format!("(func ${function} (drop (call $add_header (i32.const 2) (text \"x-shown\") (text \"{function}\"))))")
    };
    let module = |functions: &[&str], called: &str| {
        let functions: String = functions.iter().map(|function| show(function)).collect();
        Wat::new().doing("proxy_on_response_headers", &format!("(call ${called})")).with(&functions).build()
    };
    let origin = Origin::text("ok").await;
    let config = one_route(&origin.url(), &json!([{ "use": "version" }]));
    let gateway = Site::new(&config).plugin("version", module(&["one", "two"], "one")).start().await;
    assert_eq!(gateway.get("/").await.header("x-shown"), "one");
    for (functions, called) in [
        (&["two", "one"][..], "one"),
        (&["two", "one"], "two"),
        (&["three", "two", "one"], "one"),
        (&["one", "two"], "one"),
    ] {
        gateway.swap("version", module(functions, called)).await;
        assert_eq!(gateway.get("/").await.header("x-shown"), called, "{functions:?}");
    }
}
