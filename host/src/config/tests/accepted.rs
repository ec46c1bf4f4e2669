//! Configurations that are accepted, and what they mean.

use std::path::Path;
use std::time::Duration;

use super::{condition, filter, good, route, top};
use crate::config::action::{Action, Weighted};
use crate::config::{
    HostMatch, Limits, OnError, PathMatch, PathRewrite, PauseMeaning, UpstreamProtocol, ValueMatch, load,
};

#[test]
fn the_smallest_configuration_has_every_default() {
    let config = good(r#"{"listeners": [{"address": "127.0.0.1:8080"}]}"#).config;
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert!(config.admin.is_none());
    assert_eq!(config.plugins.dir, Path::new("/etc/sluicegate/plugins"));
    assert!(config.upstreams.is_empty() && config.filters.is_empty() && config.routes.is_empty());
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn every_key_is_read() {
    let config = good(
        r#"{
  // Notes are allowed,
  "$schema": "./gateway.schema.json", "//": "as keys too", "x-team": {"any": "thing"},
  "listeners": [{ "address": "[::1]:8080" }],
  "admin": { "address": "127.0.0.1:9901" },
  "plugins": { "dir": "/opt/plugins", "keys": ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"],
               "sha256": { "// why": "reviewed", "my_filter": "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855" } },
  "upstreams": {
    "// the users": "note",
    "users": { "targets": ["http://Users.example/", "https://[::1]", "http://10.0.0.1:9001", "unix:///run/users.sock"], "protocol": "http2", "connect_timeout": "250ms" },
  },
  "filters": [{ "use": "rate_limit", "config": {"b": [1, -2.5e3, true, null], "a": "x"}, "on_error": "open", "deadline": "1s",
                "memory": "1MiB", "upstreams": ["users"], "pause": "stop_iteration", "env": {"A": "b"}, "when": {"methods": ["POST"]} }],
  "routes": [{
    "name": "users", "upstream": "users", "timeout": "1m", "filters": [{ "use": "log" }],
    "match": { "host": "A.example", "hosts": ["*.B.example", "[0::1]"], "path": "/users/", "methods": ["GET", "PURGE"],
               "headers": {"X-User": "a", "x-b": {"present": true}}, "query": {"page": {"regex": "[0-9]+"}} },
    "rewrite": { "path": {"prefix": "/"}, "host": "Users.example:81" },
  }], /* and trailing commas */
  "limits": { "workers": 2, "header_bytes": 4096, "buffer_bytes": "2MiB", "memory": "1GiB", "http2_streams": 7, "drain_timeout": "1h" },
}"#,
    )
    .config;
    assert_eq!(config.admin.as_ref().map(|admin| admin.address.port()), Some(9901));
    assert_eq!(config.plugins.dir, Path::new("/opt/plugins"));
    assert_eq!(&config.plugins.sha256["my-filter"][..8], "e3b0c442");
    assert_eq!((config.plugins.sha256.len(), config.plugins.keys.len()), (1, 1));
    let users = &config.upstreams["users"];
    assert_eq!(
        (&*users.name, users.protocol, users.connect_timeout),
        ("users", UpstreamProtocol::Http2, Duration::from_millis(250))
    );
    let targets: Vec<_> = users.targets.iter().map(|target| (target.tls, target.to_string())).collect();
    let named = |tls: bool, name: &str| (tls, name.to_owned());
    let expected = [named(false, "users.example:80"), named(true, "::1:443"), named(false, "10.0.0.1:9001")];
    assert_eq!(targets[..3], expected);
    assert_eq!(targets[3..], [named(false, "unix:/run/users.sock")]);
    let limit = &config.filters[0];
    assert_eq!((&*limit.plugin, &*limit.path), ("rate-limit", "filters[0]"));
    assert_eq!(&*limit.config, r#"{"b":[1,-2.5e3,true,null],"a":"x"}"#);
    assert_eq!((limit.on_error, limit.pause), (OnError::Open, PauseMeaning::StopIteration));
    assert_eq!((limit.deadline, limit.memory), (Duration::from_secs(1), 1 << 20));
    assert!(limit.upstreams.contains("users") && limit.env["A"] == "b" && limit.when.is_some());
    let route = &config.routes[0];
    assert_eq!((&*route.name, route.timeout), ("users", Some(Duration::from_secs(60))));
    assert!(
        matches!(&route.action, Action::Forward(shares) if *shares == [Weighted { upstream: "users".into(), weight: 1 }])
    );
    assert_eq!((&*route.filters[0].path, &*route.filters[0].config), ("routes[0].filters[0]", ""));
    let hosts = [
        HostMatch::Suffix(".b.example".into()),
        HostMatch::Exact("[::1]".into()),
        HostMatch::Exact("a.example".into()),
    ];
    assert_eq!(route.matches.hosts, hosts);
    assert!(matches!(&route.matches.path, Some(PathMatch::Prefix(prefix)) if prefix == "/users"));
    assert_eq!(route.matches.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(), ["GET", "PURGE"]);
    assert!(
        matches!(&route.matches.headers[..], [(a, ValueMatch::Exact(_)), (_, ValueMatch::Present)] if a == "x-user")
    );
    assert!(matches!(&route.matches.query[..], [(page, ValueMatch::Regex(_))] if page == "page"));
    assert_eq!(route.rewrite.path, Some(PathRewrite::Prefix("/".into())));
    assert_eq!(route.rewrite.host.as_deref(), Some("users.example:81"));
    let limits = &config.limits;
    assert_eq!((limits.workers, limits.header_bytes, limits.buffer_bytes, limits.http2_streams), (2, 4096, 2 << 20, 7));
    assert_eq!((limits.drain_timeout, limits.memory), (Duration::from_secs(3600), Some(1 << 30)));
}

#[test]
fn a_filter_and_a_route_have_defaults() {
    let config = good(&top(r#""filters": [{"use": "log"}], "routes": [{"upstream": "idp"}]"#)).config;
    let log = &config.filters[0];
    assert_eq!(
        (&*log.config, log.on_error, log.deadline, log.memory),
        ("", OnError::Closed, Duration::from_millis(100), 64 << 20)
    );
    assert_eq!(log.pause, PauseMeaning::StopAll);
    let route = &config.routes[0];
    assert_eq!((&*route.name, route.timeout), ("routes[0]", Some(Duration::from_secs(15))));
    assert_eq!(config.upstreams["idp"].connect_timeout, Duration::from_secs(5));
}

#[test]
fn a_timeout_of_zero_is_none() {
    assert_eq!(good(&route(r#""timeout": "0s""#)).config.routes[0].timeout, None);
}

#[test]
fn a_regular_expression_matches_as_a_whole() {
    let config = good(&condition(r#""path": {"regex": "/a|/b"}"#)).config;
    let Some(PathMatch::Regex(regex)) = &config.routes[0].matches.path else { panic!() };
    assert!(regex.is_match("/a") && regex.is_match("/b") && !regex.is_match("/a/b") && !regex.is_match("/b\n"));
}

#[test]
fn a_configuration_that_is_one_string_is_handed_over_as_that_text() {
    let text = |config: &str| good(&filter(&format!(r#""config": {config}"#))).config.filters[0].config.to_string();
    assert_eq!(text(r#""a \"b\" ${PORT}""#), r#"a "b" 8080"#);
    assert_eq!(text("{}"), "{}");
    assert_eq!(text("[1, /* two */ 2,]"), "[1,2]");
    assert_eq!(text("null"), "null");
    assert_eq!(text(r#"{"//": "handed over", "x-a": "\u00e9\n"}"#), r#"{"//":"handed over","x-a":"é\n"}"#);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    good("\u{feff}{\"listeners\": [{\"address\": \"127.0.0.1:0\"}]}");
}

#[test]
fn a_file_is_read_and_its_directory_is_where_paths_start() {
    let dir = std::env::temp_dir().join(format!("sluicegate-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("gateway.json");
    std::fs::write(&file, r#"{"listeners": [{"address": "127.0.0.1:0"}]}"#).unwrap();
    assert_eq!(load(&file).unwrap().config.plugins.dir, dir.join("plugins"));
    std::fs::write(&file, b"{\xff}").unwrap();
    assert_eq!(load(&file).unwrap_err().to_string(), format!("{}: not UTF-8 at byte 1", file.display()));
    assert!(load(&dir).unwrap_err().to_string().ends_with("cannot read the configuration: it is a directory"));
    std::fs::remove_dir_all(&dir).unwrap();
    let missing = load(&file).unwrap_err().to_string();
    assert!(missing.contains(": cannot read the configuration: No such file"), "{missing}");
}
