//! Small filters in WebAssembly's text format, for what no compiler would produce: modules that break the rules, and modules that
//! differ in one number.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The host functions that texts may call, by short names, with their number of arguments.
const IMPORTS: [(&str, &str, usize); 26] = [
    ("log", "proxy_log", 3),
    ("add_header", "proxy_add_header_map_value", 5),
    ("replace_header", "proxy_replace_header_map_value", 5),
    ("get_header", "proxy_get_header_map_value", 5),
    ("get_body", "proxy_get_buffer_bytes", 5),
    ("set_body", "proxy_set_buffer_bytes", 5),
    ("reply", "proxy_send_local_response", 8),
    ("call", "proxy_http_call", 10),
    ("resume", "proxy_continue_stream", 1),
    ("tick_period", "proxy_set_tick_period_milliseconds", 1),
    ("effective", "proxy_set_effective_context", 1),
    ("get_property", "proxy_get_property", 4),
    ("set_property", "proxy_set_property", 4),
    ("done", "proxy_done", 0),
    ("clock", "proxy_get_current_time_nanoseconds", 1),
    ("get_pairs", "proxy_get_header_map_pairs", 3),
    ("get_shared", "proxy_get_shared_data", 5),
    ("set_shared", "proxy_set_shared_data", 5),
    ("define_metric", "proxy_define_metric", 4),
    ("foreign", "proxy_call_foreign_function", 6),
    ("close", "proxy_close_stream", 1),
    ("set_pairs", "proxy_set_header_map_pairs", 3),
    ("get_metric", "proxy_get_metric", 2),
    ("register_queue", "proxy_register_shared_queue", 3),
    ("enqueue", "proxy_enqueue_shared_queue", 3),
    ("grpc_send", "proxy_grpc_send", 4),
];

/// The callbacks: how many arguments they take, and what they answer when a text does not say (`None`: nothing is returned).
const CALLBACKS: [(&str, usize, Option<i32>); 24] = [
    ("proxy_on_memory_allocate", 1, Some(0)),
    ("proxy_on_context_create", 2, None),
    ("proxy_on_vm_start", 2, Some(1)),
    ("proxy_on_configure", 2, Some(1)),
    ("proxy_on_tick", 1, None),
    ("proxy_on_queue_ready", 2, None),
    ("proxy_on_request_headers", 3, Some(0)),
    ("proxy_on_request_body", 3, Some(0)),
    ("proxy_on_request_trailers", 2, Some(0)),
    ("proxy_on_response_headers", 3, Some(0)),
    ("proxy_on_response_body", 3, Some(0)),
    ("proxy_on_response_trailers", 2, Some(0)),
    ("proxy_on_new_connection", 1, Some(0)),
    ("proxy_on_downstream_data", 3, Some(0)),
    ("proxy_on_upstream_data", 3, Some(0)),
    ("proxy_on_downstream_connection_close", 2, None),
    ("proxy_on_upstream_connection_close", 2, None),
    ("proxy_on_http_call_response", 5, None),
    ("proxy_on_done", 1, Some(1)),
    ("proxy_on_log", 1, None),
    ("proxy_on_delete", 1, None),
    ("_initialize", 0, None),
    ("_start", 0, None),
    ("malloc", 1, Some(0)),
];

/// Hands out memory from a ring of 64 KiB: nothing that the host writes is kept beyond its callback.
const ALLOCATE: &str = "
    (local $at i32)
    (if (i32.gt_u (i32.add (global.get $heap) (local.get 0)) (i32.const 131072)) (then (global.set $heap (i32.const 65536))))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get 0)) (i32.const 7)) (i32.const -8)))
    (local.get $at)";

/// A module in the making. Inside a callback's text the arguments are `(local.get 0)` …, host functions are `(call $log …)`, each
/// leaving its status, and `(text "…")` stands for the address and the length of a text.
#[derive(Clone)]
pub struct Wat {
    bodies: BTreeMap<&'static str, String>,
    imports: String,
    more: String,
    marker: Option<&'static str>,
    memory: String,
}

impl Default for Wat {
    fn default() -> Self {
        Self::new()
    }
}

impl Wat {
    /// A filter that does nothing.
    #[must_use]
    pub fn new() -> Self {
        let module = Self {
            bodies: BTreeMap::new(),
            imports: String::new(),
            more: String::new(),
            marker: Some("proxy_abi_version_0_2_1"),
            memory: "(memory (export \"memory\") 4)".to_owned(),
        };
        module
            .on("proxy_on_memory_allocate", ALLOCATE)
            .on("proxy_on_context_create", "")
            .on("proxy_on_vm_start", "(i32.const 1)")
            .on("proxy_on_configure", "(i32.const 1)")
    }
    /// With a callback. A text for one that answers must leave its answer.
    ///
    /// # Panics
    /// There is no such callback.
    #[must_use]
    pub fn on(mut self, callback: &'static str, text: &str) -> Self {
        assert!(CALLBACKS.iter().any(|(name, ..)| *name == callback), "no callback {callback}");
        self.bodies.insert(callback, text.to_owned());
        self
    }
    /// With a callback that does something and gives the usual answer.
    ///
    /// # Panics
    /// There is no such callback.
    #[must_use]
    pub fn doing(self, callback: &'static str, text: &str) -> Self {
        let (.., answer) = signature(callback);
        let answer = answer.map_or_else(String::new, |value| format!("(i32.const {value})"));
        self.on(callback, &format!("{text} {answer}"))
    }
    /// Without a callback.
    #[must_use]
    pub fn without(mut self, callback: &str) -> Self {
        self.bodies.remove(callback);
        self
    }
    /// With an import more.
    #[must_use]
    pub fn import(mut self, text: &str) -> Self {
        self.imports.push_str(text);
        self
    }
    /// With any fields more: functions, globals, exports.
    #[must_use]
    pub fn with(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }
    /// With another marker of the ABI's version, or none.
    #[must_use]
    pub fn marker(mut self, marker: Option<&'static str>) -> Self {
        self.marker = marker;
        self
    }
    /// With another memory.
    #[must_use]
    pub fn memory(mut self, text: &str) -> Self {
        text.clone_into(&mut self.memory);
        self
    }
    /// The module's bytes.
    ///
    /// # Panics
    /// A text is wrong.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
    fn text(&self) -> String {
        let mut texts = Texts::default();
        let mut functions = String::new();
        for (name, body) in &self.bodies {
            let (count, answer) = signature(name);
            let parameters = "(param i32)".repeat(count);
            let result = if answer.is_some() { "(result i32)" } else { "" };
            let body = texts.place(body);
            writeln!(functions, "(func (export \"{name}\") {parameters} {result} {body})").expect("a string takes all");
        }
        functions.push_str(&texts.place(&self.more));
        let mut imports = self.imports.clone();
        for (short, name, count) in IMPORTS {
            if functions.contains(&format!("${short} ")) || functions.contains(&format!("${short})")) {
                let parameters = "(param i32)".repeat(count);
                writeln!(imports, "(import \"env\" \"{name}\" (func ${short} {parameters} (result i32)))")
                    .expect("a string takes all");
            }
        }
        let marker = self.marker.map_or_else(String::new, |name| format!("(func (export \"{name}\"))"));
        let (memory, data) = (&self.memory, texts.segments());
        format!("(module {imports} {memory} (global $heap (mut i32) (i32.const 65536)) {marker} {functions} {data})")
    }
}

fn signature(callback: &str) -> (usize, Option<i32>) {
    let found = CALLBACKS.iter().find(|(name, ..)| *name == callback);
    let (_, count, answer) = found.unwrap_or_else(|| panic!("no callback {callback}"));
    (*count, *answer)
}

/// The bytes that a text is: `\00` is one.
fn size(text: &str) -> usize {
    text.len() - 2 * text.matches('\\').count()
}

/// The texts of a module, laid into its memory one after the other.
#[derive(Default)]
struct Texts {
    placed: Vec<(usize, String)>,
}

impl Texts {
    /// Where texts begin: below is room for what the host returns by address.
    const START: usize = 1024;

    /// Replaces each `(text "…")` by its address and length.
    fn place(&mut self, body: &str) -> String {
        let mut rest = body;
        let mut out = String::new();
        while let Some((before, after)) = rest.split_once("(text \"") {
            let (text, after) = after.split_once("\")").expect("a text ends");
            let at = self.placed.last().map_or(Self::START, |(at, text)| at + size(text));
            write!(out, "{before}(i32.const {at}) (i32.const {})", size(text)).expect("a string takes all");
            self.placed.push((at, text.to_owned()));
            rest = after;
        }
        out.push_str(rest);
        out
    }
    fn segments(&self) -> String {
        self.placed.iter().map(|(at, text)| format!("(data (i32.const {at}) \"{text}\")")).collect()
    }
}

/// A filter whose version shows in everything that it touches: request header `x-request-version`, response header
/// `x-response-version`, and the end of the response body, `;version=…`.
#[must_use]
pub fn version_guest(version: u32) -> Vec<u8> {
    let header = |map: u32, name: &str| {
        format!("(drop (call $add_header (i32.const {map}) (text \"{name}\") (text \"{version}\")))")
    };
    let append = format!(
        "(if (local.get 2) (then (drop (call $set_body (i32.const 1) (local.get 1) (i32.const 0) (text \";version={version}\")))))"
    );
    Wat::new()
        .doing("proxy_on_request_headers", &header(0, "x-request-version"))
        .doing("proxy_on_response_headers", &header(2, "x-response-version"))
        .doing("proxy_on_response_body", &append)
        .build()
}

/// A filter that adds one request header and one response header, as cheaply as a filter can.
#[must_use]
pub fn header_guest() -> Vec<u8> {
    let header = |map: u32| {
        format!(
            "(drop (call $get_header (i32.const {map}) (text \"user-agent\") (i32.const 16) (i32.const 20)))
             (drop (call $add_header (i32.const {map}) (text \"x-bench\") (text \"one\")))"
        )
    };
    Wat::new().doing("proxy_on_request_headers", &header(0)).doing("proxy_on_response_headers", &header(2)).build()
}
