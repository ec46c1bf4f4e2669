// A filter in AssemblyScript that does a little of everything, as the request's x-do asks.

import {
  CALL_BODY, CONTINUE, PAUSE, REQUEST_BODY, REQUEST_HEADERS, REQUEST_STREAM, RESPONSE_HEADERS,
  add, allocate, buffer, call, continueStream, count, fail, header, property, remove, replaceBuffer, reply,
  setEffectiveContext, setTickPeriod,
} from "./abi";

const LANGUAGE = "assemblyscript";

// What a stream was asked to do, and which stream waits for which call.
const asked = new Map<u32, string>();
const waiting = new Map<u32, u32>();
let ticks = 0;

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_memory_allocate(size: usize): usize {
  return allocate(size);
}

export function proxy_on_context_create(context: u32, parent: u32): void {}

export function proxy_on_vm_start(context: u32, size: u32): u32 {
  return 1;
}

export function proxy_on_configure(context: u32, size: u32): u32 {
  setTickPeriod(10);
  return 1;
}

export function proxy_on_tick(context: u32): void {
  ticks++;
}

export function proxy_on_request_headers(context: u32, fields: u32, end: u32): u32 {
  const ask = header(REQUEST_HEADERS, "x-do");
  asked.set(context, ask);
  add(REQUEST_HEADERS, "x-language", LANGUAGE);
  if (ask == "reply") {
    reply(418, "reply from " + LANGUAGE);
    return PAUSE;
  }
  if (ask == "call") {
    waiting.set(call("side", "/" + LANGUAGE), context);
    return PAUSE;
  }
  if (ask == "body") {
    remove(REQUEST_HEADERS, "content-length");
    return PAUSE;
  }
  if (ask == "property") add(REQUEST_HEADERS, "x-url-path", property("request\0url_path"));
  if (ask == "state") add(REQUEST_HEADERS, "x-count", count("count").toString());
  return CONTINUE;
}

export function proxy_on_request_body(context: u32, size: u32, end: u32): u32 {
  if (asked.get(context) != "body") return CONTINUE;
  if (end == 0) return PAUSE;
  replaceBuffer(REQUEST_BODY, size, "<" + buffer(REQUEST_BODY, size) + "> in " + LANGUAGE);
  return CONTINUE;
}

export function proxy_on_response_headers(context: u32, fields: u32, end: u32): u32 {
  if (asked.get(context) == "time" && ticks > 2) add(RESPONSE_HEADERS, "x-ticked", "yes");
  return CONTINUE;
}

export function proxy_on_http_call_response(context: u32, token: u32, fields: u32, size: u32, trailers: u32): void {
  const answer = buffer(CALL_BODY, size);
  setEffectiveContext(waiting.get(token));
  waiting.delete(token);
  add(REQUEST_HEADERS, "x-answer", answer);
  continueStream(REQUEST_STREAM);
}

export function proxy_on_done(context: u32): u32 {
  return 1;
}

export function proxy_on_log(context: u32): void {}

export function proxy_on_delete(context: u32): void {
  asked.delete(context);
}

// Named in the compiler's options.
export function aborted(message: string | null, file: string | null, line: u32, column: u32): void {
  fail(message, file, line, column);
}
