//! Log lines of guests, as operators read them.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;

use super::guest::Guest;
use super::stage::Bench;

/// Collects what is said under the target `filter`.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Collected {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "filter" && *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

fn lines(guest: &Guest) -> Vec<String> {
    let collected = Collected::default();
    tracing::subscriber::with_default(collected.clone(), || Bench::new(guest).run());
    let lines = collected.0.lock().unwrap();
    lines.clone()
}

#[test]
fn lines_carry_filter_request_and_level_and_no_control_characters() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(drop (call $proxy_log (i32.const 2) 'hello\\nERROR forged'))
         (drop (call $proxy_log (i32.const 1) 'nobody reads this'))
         (call $note (i32.const 1) (call $proxy_log (i32.const 9) 'no such level'))
         (drop (call $proxy_get_log_level (i32.const 32)))
         (drop (call $proxy_log (i32.load (i32.const 32)) 'at the lowest level'))
         (drop (call $proxy_log (i32.const 5) 'end')) (i32.const 0)",
    );
    assert_eq!(
        lines(&guest),
        [
            "INFO message=hello\\nERROR forged filter=\"test\" request=\"id-1\"",
            "INFO message=at the lowest level filter=\"test\" request=\"id-1\"",
            "ERROR message=end filter=\"test\" request=\"id-1\" critical=true",
        ]
    );
}

#[test]
fn a_flood_of_lines_is_cut_and_counted() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(loop $l (drop (call $proxy_log (i32.const 2) 'again'))
           (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))) (i32.const 0)",
    );
    let lines = lines(&guest);
    assert_eq!(lines.len(), 101);
    assert_eq!(lines[100], "WARN message=Log lines dropped. filter=\"test\" request=\"id-1\" dropped=900");
}
