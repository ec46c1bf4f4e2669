//! The commands that the READMEs tell a newcomer to type: each is run, here or by `.ci/run`.

use std::fs;
use std::path::Path;
use std::process::Command;

use http::Method;
use sluicegate_tests::{Gateway, Origin, Site, wait};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The commands of a document: the lines of its `sh` blocks, without what is said about them.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let lines = blocks.flat_map(str::lines).map(|line| line.split("  #").next().unwrap_or(line).trim().to_owned());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// How a command is tested.
#[derive(Debug, PartialEq)]
enum Tested {
    /// It takes a build of its own, or all tests: by a script of `.ci`.
    By(&'static str),
    /// By running this very binary, which is what it builds, with these arguments.
    Binary(Vec<String>),
    /// As it stands, in a copy of the repository.
    Shell,
}

fn tested(command: &str) -> Tested {
    match command {
        "cargo run --release -p demo" => Tested::By(".ci/demo"),
        "cargo test --workspace" | "cargo test -p sluicegate-tests --test soak" => Tested::By(".ci/run"),
        _ if command.starts_with("cargo bench -p sluicegate-tests --bench gateway") => Tested::By("tests/Cargo.toml"),
        _ if command == "cargo run --release" || command.starts_with("cargo run --release -- ") => {
            Tested::Binary(command.split_whitespace().skip(4).map(str::to_owned).collect())
        }
        _ => Tested::Shell,
    }
}

/// A copy of the repository in which commands may change files; what cargo builds there is shared.
fn copy() -> Site {
    fn copy_folder(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let kept = !name.to_string_lossy().ends_with(".wasm") && name != "target" && name != ".git";
            if kept && path.is_dir() {
                copy_folder(&path, &to.join(name));
            } else if kept {
                fs::copy(&path, to.join(name)).unwrap();
            }
        }
    }
    let site = Site::empty();
    copy_folder(root(), site.folder());
    let target = root().join("target/readme");
    fs::create_dir_all(&target).unwrap();
    std::os::unix::fs::symlink(fs::canonicalize(target).unwrap(), site.folder().join("target")).unwrap();
    site
}

/// Runs a command as a newcomer would.
async fn run(folder: &Path, command: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder);
    // What the outer cargo told this test must not reach an inner one.
    for name in
        ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_MANIFEST_DIR", "RUSTC_WORKSPACE_WRAPPER"]
    {
        shell.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The repository's own gateway, with the demo's services replaced by one that echoes.
async fn demo_gateway(site: Site) -> (Gateway, Origin) {
    let origin = Origin::echo().await;
    let port = origin.address().port().to_string();
    let site = ["USERS_PORT", "ORDERS_PORT", "INVENTORY_PORT", "ECHO_PORT"]
        .iter()
        .fold(site, |site, name| site.env(name, &port));
    let site = site.env("SLUICEGATE_LISTEN", "127.0.0.1:0").env("SLUICEGATE_ADMIN", "127.0.0.1:0");
    (site.start().await, origin)
}

#[test]
fn what_the_scripts_run_is_what_the_readme_says() {
    for command in commands("README.md") {
        if let Tested::By(script) = tested(&command) {
            let text = fs::read_to_string(root().join(script)).unwrap_or_else(|error| panic!("{script}: {error}"));
            let there = text.contains(&command) || script == "tests/Cargo.toml" && text.contains("name = \"gateway\"");
            assert!(there, "{script} does not run {command:?}");
        }
    }
}

#[tokio::test]
async fn a_newcomers_filter_is_built_dropped_in_and_seen() {
    let (gateway, _origin) = demo_gateway(copy()).await;
    assert!(!gateway.get("/echo").await.expect(200).has("x-greeting"));
    let shell: Vec<String> =
        commands("README.md").into_iter().filter(|command| tested(command) == Tested::Shell).collect();
    assert!(shell.len() >= 3, "build, drop in, name it: {shell:?}");
    for command in shell {
        run(gateway.site().folder(), &command).await;
    }
    wait::eventually("the filter is live", || async { gateway.get("/echo").await.has("x-greeting") }).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_binary_checks_and_serves_the_repositorys_own_configuration() {
    let (gateway, _origin) = demo_gateway(copy()).await;
    gateway.request(Method::GET, "/users/1").header("x-api-key", "demo").send().await.expect(200);
    gateway.get("/users/1").await.expect(401);
    for command in commands("README.md") {
        if let Tested::Binary(arguments) = tested(&command)
            && arguments.first().is_some_and(|verb| verb != "run")
        {
            let site = copy();
            let output = tokio::task::spawn_blocking(move || {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                site.run(&arguments)
            });
            let output = output.await.unwrap();
            assert_eq!(output.code, 0, "{command}\n{}", output.text());
        }
    }
}

#[test]
fn examples_tell_commands_that_name_what_exists() {
    for example in ["hello", "enrich", "edit-json"] {
        let all = commands(&format!("examples/{example}/README.md"));
        assert!(
            all.iter().any(|command| command.starts_with(&format!("cargo build -p {example} "))),
            "{example}: {all:?}"
        );
        assert!(
            all.iter().all(|command| ["cargo ", "cp ", "sed ", "curl "].iter().any(|word| command.starts_with(word))),
            "{all:?}"
        );
    }
}
