//! A configuration of several files: taken over as they come, change, go, and are exchanged behind a link.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait};

/// A configuration that includes routes, and answers by itself where it has none.
fn site(target: &str) -> Site {
    let mut config = one_route(target, &json!([]));
    config["include"] = json!(["routes.d/*.json"]);
    let site = Site::new(&config);
    fs::create_dir(site.folder().join("routes.d")).unwrap();
    site
}

/// A file with a route for `/NAME` that answers `body`.
fn file(folder: &Path, name: &str, body: &str) {
    let route = json!({ "name": name, "match": { "path": format!("/{name}") }, "respond": { "body": body } });
    let text = json!({ "routes": [route] }).to_string();
    sluicegate_tests::site::replace(&folder.join(format!("{name}.json")), text.as_bytes());
}

async fn becomes(gateway: &Gateway, path: &str, body: &str) {
    wait::eventually("the other answer is given", || async { gateway.get(path).await.text() == body }).await;
}

#[tokio::test]
async fn files_that_come_change_and_go_are_taken_over_and_a_broken_one_is_told_with_its_name() {
    let origin = Origin::text("origin").await;
    let gateway = site(&origin.url()).start().await;
    let folder = gateway.site().folder().join("routes.d");
    becomes(&gateway, "/a", "origin").await;
    gateway.wait_for_log("include[0]: matches no file, so that nothing is included").await;
    file(&folder, "a", "one");
    becomes(&gateway, "/a", "one").await;
    gateway.wait_for_log("routes=2 routes_added=1 routes_removed=0 routes_changed=0").await;
    file(&folder, "a", "two");
    becomes(&gateway, "/a", "two").await;
    gateway.wait_for_log("routes=2 routes_added=0 routes_removed=0 routes_changed=1").await;
    file(&folder, "b", "three");
    becomes(&gateway, "/b", "three").await;
    fs::remove_file(folder.join("a.json")).unwrap();
    becomes(&gateway, "/a", "origin").await;
    gateway.wait_for_log("routes=2 routes_added=0 routes_removed=1 routes_changed=0").await;
    fs::write(folder.join("c.json"), "{\n  \"routs\": []\n}").unwrap();
    gateway.wait_for_log("routes.d/c.json:2:3: routs: unknown key").await;
    becomes(&gateway, "/b", "three").await;
    file(&folder, "c", "mended");
    becomes(&gateway, "/c", "mended").await;
    let shown = gateway.admin_get("/api/v1/config").await.json();
    let names: Vec<_> = shown["routes"].as_array().unwrap().iter().map(|route| route["name"].clone()).collect();
    assert_eq!(names, ["all", "b", "c"]);
}

#[tokio::test]
async fn a_file_is_mended_that_was_broken_when_it_was_included_first() {
    let origin = Origin::text("origin").await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).start().await;
    let folder = gateway.site().folder().to_owned();
    fs::create_dir(folder.join("new")).unwrap();
    fs::write(folder.join("new/a.json"), "{").unwrap();
    let text = fs::read_to_string(gateway.site().config_file()).unwrap();
    gateway.site().write_text(&text.replacen('{', "{\"include\": [\"new/*.json\"], ", 1));
    gateway.wait_for_log("new/a.json:1:1").await;
    file(&folder.join("new"), "a", "mended");
    becomes(&gateway, "/a", "mended").await;
}

#[tokio::test]
async fn a_directory_of_routes_is_exchanged_behind_a_link_as_a_config_map_is() {
    let origin = Origin::text("origin").await;
    let site = site(&origin.url());
    let folder = site.folder().join("routes.d");
    for number in ["1", "2"] {
        let version = folder.join(format!("..{number}"));
        fs::create_dir(&version).unwrap();
        file(&version, "a", number);
    }
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/a.json", folder.join("a.json")).unwrap();
    let gateway = site.start().await;
    becomes(&gateway, "/a", "1").await;
    symlink("..2", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    becomes(&gateway, "/a", "2").await;
}

#[tokio::test]
async fn check_and_explain_know_the_routes_of_included_files() {
    let site = site("http://127.0.0.1:9");
    file(&site.folder().join("routes.d"), "a", "one");
    let (check, explain) =
        tokio::task::spawn_blocking(move || (site.check(), site.run(&["explain", "GET", "http://gateway.example/a"])))
            .await
            .unwrap();
    assert!(check.code == 0 && check.text().contains("2 routes"), "{}", check.text());
    assert!(explain.code == 0 && explain.text().contains("route      a"), "{}", explain.text());
}
