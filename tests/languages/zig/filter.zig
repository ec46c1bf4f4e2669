//! A filter in Zig that does a little of everything, as the request's x-do asks.

const std = @import("std");
const abi = @import("abi.zig");

const language = "zig";

/// What streams can be asked to do; `none` is everything else.
const Ask = enum { none, reply, call, body, property, state, time };

/// What a stream was asked to do, and which stream waits for which call.
var asked: std.AutoHashMapUnmanaged(u32, Ask) = .empty;
var waiting: std.AutoHashMapUnmanaged(u32, u32) = .empty;
var ticks: u32 = 0;

export fn proxy_abi_version_0_2_1() void {}

export fn proxy_on_context_create(_: u32, _: u32) void {}

export fn proxy_on_vm_start(_: u32, _: u32) u32 {
    return 1;
}

export fn proxy_on_configure(_: u32, _: u32) u32 {
    abi.setTickPeriod(10);
    return 1;
}

export fn proxy_on_tick(_: u32) void {
    ticks += 1;
}

export fn proxy_on_request_headers(context: u32, _: u32, _: u32) abi.Action {
    const word = abi.header(.request_headers, "x-do");
    defer abi.memory.free(word);
    const ask = std.meta.stringToEnum(Ask, word) orelse .none;
    asked.put(abi.memory, context, ask) catch @trap();
    abi.add(.request_headers, "x-language", language);
    switch (ask) {
        .reply => abi.reply(418, "reply from " ++ language),
        .call => waiting.put(abi.memory, abi.call("side", "/" ++ language), context) catch @trap(),
        .body => abi.remove(.request_headers, "content-length"),
        .property => {
            const path = abi.property("request\x00url_path");
            defer abi.memory.free(path);
            abi.add(.request_headers, "x-url-path", path);
        },
        .state => {
            var digits: [3]u8 = undefined;
            const text = std.fmt.bufPrint(&digits, "{d}", .{abi.count("count")}) catch @trap();
            abi.add(.request_headers, "x-count", text);
        },
        .none, .time => {},
    }
    return switch (ask) {
        .reply, .call, .body => .pause,
        else => .go_on,
    };
}

export fn proxy_on_request_body(context: u32, size: usize, end: u32) abi.Action {
    if (asked.get(context) != .body) return .go_on;
    if (end == 0) return .pause;
    const body = abi.buffer(.request_body, size);
    defer abi.memory.free(body);
    const text = std.fmt.allocPrint(abi.memory, "<{s}> in {s}", .{ body, language }) catch @trap();
    defer abi.memory.free(text);
    abi.replace(.request_body, size, text);
    return .go_on;
}

export fn proxy_on_response_headers(context: u32, _: u32, _: u32) abi.Action {
    if (asked.get(context) == .time and ticks > 2) abi.add(.response_headers, "x-ticked", "yes");
    return .go_on;
}

export fn proxy_on_http_call_response(_: u32, token: u32, _: u32, size: usize, _: u32) void {
    const answer = abi.buffer(.call_body, size);
    defer abi.memory.free(answer);
    const context = waiting.fetchRemove(token) orelse return;
    abi.setEffectiveContext(context.value);
    abi.add(.request_headers, "x-answer", answer);
    abi.continueRequest();
}

export fn proxy_on_done(_: u32) u32 {
    return 1;
}

export fn proxy_on_log(_: u32) void {}

export fn proxy_on_delete(context: u32) void {
    _ = asked.remove(context);
}
