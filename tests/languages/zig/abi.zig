//! The part of Proxy-Wasm 0.2.1 that the filter uses, without an SDK.

const std = @import("std");

pub const memory = std.heap.wasm_allocator;

pub const Kind = enum(u32) { request_headers = 0, response_headers = 2 };
pub const Buffer = enum(u32) { request_body = 0, call_body = 4 };
pub const Action = enum(u32) { go_on = 0, pause = 1 };

const ok = 0;
const cas_mismatch = 8;

const env = struct {
    extern "env" fn proxy_add_header_map_value(Kind, [*]const u8, usize, [*]const u8, usize) u32;
    extern "env" fn proxy_remove_header_map_value(Kind, [*]const u8, usize) u32;
    extern "env" fn proxy_get_header_map_value(Kind, [*]const u8, usize, *[*]u8, *usize) u32;
    extern "env" fn proxy_get_buffer_bytes(Buffer, usize, usize, *[*]u8, *usize) u32;
    extern "env" fn proxy_set_buffer_bytes(Buffer, usize, usize, [*]const u8, usize) u32;
    extern "env" fn proxy_send_local_response(u32, ?[*]const u8, usize, [*]const u8, usize, ?[*]const u8, usize, i32) u32;
    extern "env" fn proxy_http_call([*]const u8, usize, [*]const u8, usize, ?[*]const u8, usize, ?[*]const u8, usize, u32, *u32) u32;
    extern "env" fn proxy_set_effective_context(u32) u32;
    extern "env" fn proxy_continue_stream(u32) u32;
    extern "env" fn proxy_get_property([*]const u8, usize, *[*]u8, *usize) u32;
    extern "env" fn proxy_get_shared_data([*]const u8, usize, *[*]u8, *usize, *u32) u32;
    extern "env" fn proxy_set_shared_data([*]const u8, usize, [*]const u8, usize, u32) u32;
    extern "env" fn proxy_set_tick_period_milliseconds(u32) u32;
};

/// What the host writes is allocated by its asking, and is the filter's to free.
export fn proxy_on_memory_allocate(size: usize) ?[*]u8 {
    const bytes = memory.alloc(u8, size) catch return null;
    return bytes.ptr;
}

pub fn add(kind: Kind, key: []const u8, value: []const u8) void {
    _ = env.proxy_add_header_map_value(kind, key.ptr, key.len, value.ptr, value.len);
}

pub fn remove(kind: Kind, key: []const u8) void {
    _ = env.proxy_remove_header_map_value(kind, key.ptr, key.len);
}

/// The caller frees it.
pub fn header(kind: Kind, key: []const u8) []u8 {
    var at: [*]u8 = undefined;
    var size: usize = 0;
    if (env.proxy_get_header_map_value(kind, key.ptr, key.len, &at, &size) != ok or size == 0) return &.{};
    return at[0..size];
}

/// The caller frees it.
pub fn buffer(kind: Buffer, length: usize) []u8 {
    var at: [*]u8 = undefined;
    var size: usize = 0;
    if (env.proxy_get_buffer_bytes(kind, 0, length, &at, &size) != ok or size == 0) return &.{};
    return at[0..size];
}

pub fn replace(kind: Buffer, length: usize, text: []const u8) void {
    _ = env.proxy_set_buffer_bytes(kind, 0, length, text.ptr, text.len);
}

/// The caller frees it.
pub fn property(path: []const u8) []u8 {
    var at: [*]u8 = undefined;
    var size: usize = 0;
    if (env.proxy_get_property(path.ptr, path.len, &at, &size) != ok or size == 0) return &.{};
    return at[0..size];
}

pub fn reply(status: u32, body: []const u8) void {
    _ = env.proxy_send_local_response(status, null, 0, body.ptr, body.len, null, 0, -1);
}

pub fn setEffectiveContext(context: u32) void {
    _ = env.proxy_set_effective_context(context);
}

pub fn continueRequest() void {
    _ = env.proxy_continue_stream(0);
}

pub fn setTickPeriod(milliseconds: u32) void {
    _ = env.proxy_set_tick_period_milliseconds(milliseconds);
}

/// Pairs in the ABI's own format, known when compiled.
fn pairs(comptime fields: []const [2][]const u8) []const u8 {
    comptime {
        var sizes: []const u8 = &word(fields.len);
        var data: []const u8 = "";
        for (fields) |field| {
            sizes = sizes ++ word(field[0].len) ++ word(field[1].len);
            data = data ++ field[0] ++ "\x00" ++ field[1] ++ "\x00";
        }
        return sizes ++ data;
    }
}

fn word(comptime number: u32) [4]u8 {
    return .{ number & 0xff, (number >> 8) & 0xff, (number >> 16) & 0xff, number >> 24 };
}

pub fn call(comptime upstream: []const u8, comptime path: []const u8) u32 {
    const headers = comptime pairs(&.{ .{ ":method", "GET" }, .{ ":path", path }, .{ ":authority", upstream } });
    var token: u32 = 0;
    _ = env.proxy_http_call(upstream.ptr, upstream.len, headers.ptr, headers.len, null, 0, null, 0, 5000, &token);
    return token;
}

/// Adds one to a shared number, and answers the sum.
pub fn count(key: []const u8) u8 {
    while (true) {
        var at: [*]u8 = undefined;
        var size: usize = 0;
        var cas: u32 = 0;
        var next = [1]u8{1};
        if (env.proxy_get_shared_data(key.ptr, key.len, &at, &size, &cas) == ok and size > 0) {
            next[0] = at[0] + 1;
            memory.free(at[0..size]);
        }
        if (env.proxy_set_shared_data(key.ptr, key.len, &next, 1, cas) != cas_mismatch) return next[0];
    }
}
