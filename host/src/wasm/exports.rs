//! What a guest exports: the callbacks' signatures, checked at load, and the typed functions of one instance.

use wasmtime::{
    AsContextMut, ExternType, Instance, Memory, Module, Store, TypedFunc, ValType, WasmParams, WasmResults,
};

use super::PluginError;
use super::host_state::HostState;
use crate::filter::tcp::{Side, TcpCallbacks};
use crate::filter::{Callbacks, Direction};

/// Names of the guest's allocator, the specification's first.
const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];

/// Every callback that the host calls: name, possible numbers of 32-bit parameters, whether it answers one.
const CALLBACKS: [(&str, &[usize], bool); 31] = [
    ("_initialize", &[0], false),
    ("_start", &[0], false),
    ("main", &[2], true),
    ("__main_void", &[0], true),
    ("proxy_on_memory_allocate", &[1], true),
    ("malloc", &[1], true),
    ("proxy_on_context_create", &[2], false),
    ("proxy_on_vm_start", &[2], true),
    ("proxy_on_configure", &[2], true),
    ("proxy_on_tick", &[1], false),
    ("proxy_on_queue_ready", &[2], false),
    // ABI 0.1.0 has no end_of_stream here.
    ("proxy_on_request_headers", &[2, 3], true),
    ("proxy_on_response_headers", &[2, 3], true),
    ("proxy_on_request_body", &[3], true),
    ("proxy_on_response_body", &[3], true),
    ("proxy_on_request_trailers", &[2], true),
    ("proxy_on_response_trailers", &[2], true),
    ("proxy_on_new_connection", &[1], true),
    ("proxy_on_downstream_data", &[3], true),
    ("proxy_on_upstream_data", &[3], true),
    ("proxy_on_downstream_connection_close", &[2], false),
    ("proxy_on_upstream_connection_close", &[2], false),
    ("proxy_on_http_call_response", &[5], false),
    ("proxy_on_grpc_receive_initial_metadata", &[3], false),
    ("proxy_on_grpc_receive", &[3], false),
    ("proxy_on_grpc_receive_trailing_metadata", &[3], false),
    ("proxy_on_grpc_close", &[3], false),
    ("proxy_on_done", &[1], true),
    ("proxy_on_log", &[1], false),
    ("proxy_on_delete", &[1], false),
    ("proxy_on_foreign_function", &[3], false),
];

/// Checks the exports of a module that says it is a plugin.
pub(super) fn check(module: &Module) -> Result<(Callbacks, TcpCallbacks), PluginError> {
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return Err(PluginError("it exports no memory named \"memory\"".into()));
    }
    if !ALLOCATORS.iter().any(|name| module.get_export(name).is_some()) {
        return Err(PluginError("it exports no allocator: neither proxy_on_memory_allocate nor malloc".into()));
    }
    for (name, parameters, answers) in CALLBACKS {
        if let Some(export) = module.get_export(name) {
            check_callback(name, parameters, answers, &export)?;
        }
    }
    if !module.exports().any(|export| export.name().starts_with("proxy_on_") && export.name() != ALLOCATORS[0]) {
        return Err(PluginError("it exports no Proxy-Wasm callback (proxy_on_…)".into()));
    }
    let has = |name: &str| module.get_export(name).is_some();
    let tcp = TcpCallbacks {
        new_connection: has("proxy_on_new_connection"),
        downstream_data: has("proxy_on_downstream_data"),
        upstream_data: has("proxy_on_upstream_data"),
        downstream_close: has("proxy_on_downstream_connection_close"),
        upstream_close: has("proxy_on_upstream_connection_close"),
    };
    let http = Callbacks {
        request_headers: has("proxy_on_request_headers"),
        request_body: has("proxy_on_request_body"),
        request_trailers: has("proxy_on_request_trailers"),
        response_headers: has("proxy_on_response_headers"),
        response_body: has("proxy_on_response_body"),
        response_trailers: has("proxy_on_response_trailers"),
        finish: has("proxy_on_done") || has("proxy_on_log"),
        streams_request_body: false,
        streams_response_body: false,
    };
    Ok((http, tcp))
}

fn check_callback(name: &str, parameters: &[usize], answers: bool, export: &ExternType) -> Result<(), PluginError> {
    let ExternType::Func(ty) = export else {
        return Err(PluginError(format!("its export {name} is not a function")));
    };
    let words = |mut types: Box<dyn Iterator<Item = ValType> + '_>| types.all(|ty| matches!(ty, ValType::I32));
    let fits = parameters.contains(&ty.params().len())
        && ty.results().len() == usize::from(answers)
        && words(Box::new(ty.params()))
        && words(Box::new(ty.results()));
    // C's `main` may also be declared without parameters or result; it is then not called.
    if fits || name == "main" {
        return Ok(());
    }
    let count = parameters.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
    let answer = if answers { "i32" } else { "nothing" };
    Err(PluginError(format!(
        "its export {name} has the wrong signature: {count} i32 parameters and a result of {answer} are expected"
    )))
}

/// `proxy_on_*_headers`, by version of the ABI.
#[derive(Clone)]
pub(super) enum HeadersCallback {
    /// 0.1.0: context, number of fields.
    WithoutEnd(TypedFunc<(u32, u32), u32>),
    /// 0.2.0 and later: and end of stream.
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
}

/// `proxy_on_*_body` and `proxy_on_*_data`: context, size, end of stream → action.
pub(super) type BodyCallback = TypedFunc<(u32, u32, u32), u32>;
/// `proxy_on_http_call_response`: root context, token, number of fields, size of the body, number of trailers.
pub(super) type AnswerCallback = TypedFunc<(u32, u32, u32, u32, u32), ()>;
/// `proxy_on_grpc_*`: root context, token, and the number of fields, the size of the message or the status.
pub(super) type GrpcCallback = TypedFunc<(u32, u32, u32), ()>;

/// The functions of one instance, looked up once.
pub(super) struct Exports {
    pub(super) context_create: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) vm_start: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) configure: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) tick: Option<TypedFunc<u32, ()>>,
    pub(super) queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) http_call_response: Option<AnswerCallback>,
    pub(super) grpc_initial_metadata: Option<GrpcCallback>,
    pub(super) grpc_receive: Option<GrpcCallback>,
    pub(super) grpc_trailing_metadata: Option<GrpcCallback>,
    pub(super) grpc_close: Option<GrpcCallback>,
    pub(super) done: Option<TypedFunc<u32, u32>>,
    pub(super) log: Option<TypedFunc<u32, ()>>,
    pub(super) delete: Option<TypedFunc<u32, ()>>,
    headers: [Option<HeadersCallback>; 2],
    body: [Option<BodyCallback>; 2],
    trailers: [Option<TypedFunc<(u32, u32), u32>>; 2],
    pub(super) new_connection: Option<TypedFunc<u32, u32>>,
    data: [Option<BodyCallback>; 2],
    connection_close: [Option<TypedFunc<(u32, u32), ()>>; 2],
}

impl Exports {
    pub(super) fn new(instance: &Instance, store: &mut Store<HostState>) -> Self {
        Self {
            context_create: find(instance, store, "proxy_on_context_create"),
            vm_start: find(instance, store, "proxy_on_vm_start"),
            configure: find(instance, store, "proxy_on_configure"),
            tick: find(instance, store, "proxy_on_tick"),
            queue_ready: find(instance, store, "proxy_on_queue_ready"),
            http_call_response: find(instance, store, "proxy_on_http_call_response"),
            grpc_initial_metadata: find(instance, store, "proxy_on_grpc_receive_initial_metadata"),
            grpc_receive: find(instance, store, "proxy_on_grpc_receive"),
            grpc_trailing_metadata: find(instance, store, "proxy_on_grpc_receive_trailing_metadata")
                // The AssemblyScript SDK's name for it.
                .or_else(|| find(instance, store, "proxy_on_grpc_trailing_metadata")),
            grpc_close: find(instance, store, "proxy_on_grpc_close"),
            done: find(instance, store, "proxy_on_done"),
            log: find(instance, store, "proxy_on_log"),
            delete: find(instance, store, "proxy_on_delete"),
            headers: ["proxy_on_request_headers", "proxy_on_response_headers"].map(|name| {
                let with_end = find(instance, store, name).map(HeadersCallback::WithEnd);
                with_end.or_else(|| find(instance, store, name).map(HeadersCallback::WithoutEnd))
            }),
            body: ["proxy_on_request_body", "proxy_on_response_body"].map(|name| find(instance, store, name)),
            trailers: ["proxy_on_request_trailers", "proxy_on_response_trailers"]
                .map(|name| find(instance, store, name)),
            new_connection: find(instance, store, "proxy_on_new_connection"),
            data: ["proxy_on_downstream_data", "proxy_on_upstream_data"].map(|name| find(instance, store, name)),
            connection_close: ["proxy_on_downstream_connection_close", "proxy_on_upstream_connection_close"]
                .map(|name| find(instance, store, name)),
        }
    }
    pub(super) fn headers(&self, direction: Direction) -> Option<&HeadersCallback> {
        let [request, response] = &self.headers;
        direction.pick(request, response).as_ref()
    }
    pub(super) fn body(&self, direction: Direction) -> Option<&BodyCallback> {
        let [request, response] = &self.body;
        direction.pick(request, response).as_ref()
    }
    pub(super) fn trailers(&self, direction: Direction) -> Option<&TypedFunc<(u32, u32), u32>> {
        let [request, response] = &self.trailers;
        direction.pick(request, response).as_ref()
    }
    pub(super) fn data(&self, side: Side) -> Option<&BodyCallback> {
        let [downstream, upstream] = &self.data;
        side.pick(downstream, upstream).as_ref()
    }
    pub(super) fn connection_close(&self, side: Side) -> Option<&TypedFunc<(u32, u32), ()>> {
        let [downstream, upstream] = &self.connection_close;
        side.pick(downstream, upstream).as_ref()
    }
}

impl HeadersCallback {
    pub(super) fn call(
        &self,
        store: impl AsContextMut,
        context: u32,
        fields: u32,
        end_of_stream: bool,
    ) -> wasmtime::Result<u32> {
        match self {
            Self::WithoutEnd(callback) => callback.call(store, (context, fields)),
            Self::WithEnd(callback) => callback.call(store, (context, fields, end_of_stream.into())),
        }
    }
}

/// An exported function of that type, if there is one.
pub(super) fn find<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<HostState>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(store, name).ok()
}

/// The memory and the allocator, which hostcalls need.
pub(super) fn memory(
    instance: &Instance,
    store: &mut Store<HostState>,
) -> (Option<Memory>, Option<TypedFunc<u32, u32>>) {
    let allocate = ALLOCATORS.iter().find_map(|name| find(instance, store, name));
    (instance.get_memory(store, "memory"), allocate)
}
