//! `sluicegate fmt`: the layout of configuration files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sluicegate_tests::Site;

const UGLY: &str = "// Why.\n{\"listeners\":[{\"address\":\"127.0.0.1:0\"},], \"include\" : [\"routes.d/*.json\"]}";
const LAID_OUT: &str =
    "// Why.\n{ \"listeners\": [{ \"address\": \"127.0.0.1:0\" }], \"include\": [\"routes.d/*.json\"] }\n";

fn site() -> Site {
    let site = Site::empty();
    fs::create_dir(site.folder().join("routes.d")).unwrap();
    fs::write(site.folder().join("routes.d/a.json"), "{\n    \"routes\": []\n}\n").unwrap();
    fs::write(site.folder().join("routes.d/b.json"), "{ \"routes\": [] }\n").unwrap();
    site.write_text(UGLY);
    site
}

#[test]
fn files_are_written_in_the_canonical_layout_once() {
    let site = site();
    fs::set_permissions(site.config_file(), fs::Permissions::from_mode(0o640)).unwrap();
    let output = site.run(&["fmt"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "gateway.json\nroutes.d/a.json\n"), "{}", output.text());
    assert_eq!(fs::read_to_string(site.config_file()).unwrap(), LAID_OUT);
    assert_eq!(fs::metadata(site.config_file()).unwrap().permissions().mode() & 0o777, 0o640);
    let included = fs::read_to_string(site.folder().join("routes.d/a.json")).unwrap();
    assert_eq!(included, "{\n  \"routes\": []\n}\n");
    let again = site.run(&["fmt"]);
    assert_eq!((again.code, again.text().as_str()), (0, ""));
    let names: Vec<_> = fs::read_dir(site.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().ends_with('~')), "{names:?}");
}

#[test]
fn check_names_the_files_that_differ_with_1_and_writes_nothing() {
    let site = site();
    let output = site.run(&["fmt", "--check"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, "gateway.json\nroutes.d/a.json\n"), "{}", output.text());
    assert_eq!(fs::read_to_string(site.config_file()).unwrap(), UGLY);
    assert_eq!(site.run(&["fmt"]).code, 0);
    assert_eq!(site.run(&["fmt", "--check"]).code, 0);
}

#[test]
fn a_link_stays_one_and_a_broken_file_is_told_and_left_alone() {
    let site = site();
    fs::rename(site.config_file(), site.folder().join("real.json")).unwrap();
    symlink("real.json", site.config_file()).unwrap();
    fs::write(site.folder().join("routes.d/a.json"), "{\n  \"routes\": [}").unwrap();
    let output = site.run(&["fmt"]);
    assert_eq!(output.code, 1);
    assert!(output.text().contains("routes.d/a.json:2:14: unexpected close brace"), "{}", output.text());
    assert!(fs::symlink_metadata(site.config_file()).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(site.folder().join("real.json")).unwrap(), LAID_OUT);
    assert_eq!(fs::read_to_string(site.folder().join("routes.d/a.json")).unwrap(), "{\n  \"routes\": [}");
}

#[test]
fn the_configurations_of_this_repository_are_in_the_canonical_layout() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let manifests = fs::read_to_string(root.join("examples/deploy/kubernetes.yaml")).unwrap();
    let lines = manifests.lines().skip_while(|line| line.trim() != "gateway.json: |").skip(1);
    let lines = lines.take_while(|line| line.starts_with("    ")).map(|line| &line[4..]);
    let embedded = lines.fold(String::new(), |text, line| text + line + "\n");
    for (name, text) in
        [("gateway.json", fs::read_to_string(root.join("gateway.json")).unwrap()), ("kubernetes.yaml", embedded)]
    {
        let site = Site::empty();
        site.write_text(&text);
        let output = site.run(&["fmt", "--check"]);
        assert_eq!((output.code, output.text().as_str()), (0, ""), "{name}");
    }
}
