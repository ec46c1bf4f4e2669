// The part of Proxy-Wasm 0.2.1 that the filter uses, without an SDK.

export const REQUEST_HEADERS: u32 = 0;
export const RESPONSE_HEADERS: u32 = 2;
export const REQUEST_BODY: u32 = 0;
export const CALL_BODY: u32 = 4;
export const REQUEST_STREAM: u32 = 0;

export const CONTINUE: u32 = 0;
export const PAUSE: u32 = 1;

const OK: u32 = 0;
const CAS_MISMATCH: u32 = 8;

@external("env", "proxy_add_header_map_value")
declare function addHeader(kind: u32, key: usize, keySize: usize, value: usize, valueSize: usize): u32;
@external("env", "proxy_remove_header_map_value")
declare function removeHeader(kind: u32, key: usize, keySize: usize): u32;
@external("env", "proxy_get_header_map_value")
declare function getHeader(kind: u32, key: usize, keySize: usize, value: usize, size: usize): u32;
@external("env", "proxy_get_buffer_bytes")
declare function getBuffer(kind: u32, start: u32, length: u32, data: usize, size: usize): u32;
@external("env", "proxy_set_buffer_bytes")
declare function setBuffer(kind: u32, start: u32, length: u32, data: usize, size: usize): u32;
@external("env", "proxy_send_local_response")
declare function sendReply(status: u32, details: usize, detailsSize: usize, body: usize, bodySize: usize, headers: usize, headersSize: usize, grpc: i32): u32;
@external("env", "proxy_http_call")
declare function httpCall(upstream: usize, upstreamSize: usize, headers: usize, headersSize: usize, body: usize, bodySize: usize, trailers: usize, trailersSize: usize, timeout: u32, token: usize): u32;
@external("env", "proxy_set_effective_context")
export declare function setEffectiveContext(context: u32): u32;
@external("env", "proxy_continue_stream")
export declare function continueStream(kind: u32): u32;
@external("env", "proxy_get_property")
declare function getProperty(path: usize, pathSize: usize, value: usize, size: usize): u32;
@external("env", "proxy_get_shared_data")
declare function getShared(key: usize, keySize: usize, value: usize, size: usize, cas: usize): u32;
@external("env", "proxy_set_shared_data")
declare function setShared(key: usize, keySize: usize, value: usize, valueSize: usize, cas: u32): u32;
@external("env", "proxy_set_tick_period_milliseconds")
export declare function setTickPeriod(milliseconds: u32): u32;
@external("env", "proxy_log")
declare function log(level: u32, text: usize, size: usize): u32;

// Where the host writes the address, the size, and a number.
const at = memory.data(4);
const size = memory.data(4);
const number = memory.data(4);

export function allocate(size: usize): usize {
  return heap.alloc(size);
}

// Ends the instance; the compiler calls it for failed assertions.
export function fail(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = String.UTF8.encode("abort: " + (message ? message : "") + " in " + (file ? file : "") + ":" + line.toString());
  log(5, changetype<usize>(text), text.byteLength);
  unreachable();
}

// What the host has allocated and written, if the call went well.
function taken(status: u32): string {
  if (status != OK || load<u32>(size) == 0) return "";
  const address = load<usize>(at);
  const text = String.UTF8.decodeUnsafe(address, load<u32>(size));
  heap.free(address);
  return text;
}

export function add(kind: u32, key: string, value: string): void {
  const k = String.UTF8.encode(key);
  const v = String.UTF8.encode(value);
  addHeader(kind, changetype<usize>(k), k.byteLength, changetype<usize>(v), v.byteLength);
}

export function remove(kind: u32, key: string): void {
  const k = String.UTF8.encode(key);
  removeHeader(kind, changetype<usize>(k), k.byteLength);
}

export function header(kind: u32, key: string): string {
  const k = String.UTF8.encode(key);
  return taken(getHeader(kind, changetype<usize>(k), k.byteLength, at, size));
}

export function buffer(kind: u32, length: u32): string {
  return taken(getBuffer(kind, 0, length, at, size));
}

export function replaceBuffer(kind: u32, length: u32, text: string): void {
  const t = String.UTF8.encode(text);
  setBuffer(kind, 0, length, changetype<usize>(t), t.byteLength);
}

export function property(path: string): string {
  const p = String.UTF8.encode(path);
  return taken(getProperty(changetype<usize>(p), p.byteLength, at, size));
}

export function reply(status: u32, body: string): void {
  const b = String.UTF8.encode(body);
  sendReply(status, 0, 0, changetype<usize>(b), b.byteLength, 0, 0, -1);
}

// Pairs in the ABI's own format.
function pairs(fields: string[][]): ArrayBuffer {
  let length = 4;
  for (let i = 0; i < fields.length; i++) {
    length += 10 + String.UTF8.byteLength(fields[i][0]) + String.UTF8.byteLength(fields[i][1]);
  }
  const bytes = new ArrayBuffer(length);
  const start = changetype<usize>(bytes);
  store<u32>(start, fields.length);
  let sizes = start + 4;
  let data = start + 4 + 8 * fields.length;
  for (let i = 0; i < fields.length; i++) {
    for (let part = 0; part < 2; part++) {
      const text = fields[i][part];
      const written = String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, data);
      store<u32>(sizes, <u32>written);
      sizes += 4;
      data += written + 1;
    }
  }
  return bytes;
}

export function call(upstream: string, path: string): u32 {
  const headers = pairs([[":method", "GET"], [":path", path], [":authority", upstream]]);
  const u = String.UTF8.encode(upstream);
  httpCall(changetype<usize>(u), u.byteLength, changetype<usize>(headers), headers.byteLength, 0, 0, 0, 0, 5000, number);
  return load<u32>(number);
}

// Adds one to a shared number, and answers the sum.
export function count(key: string): u32 {
  const k = String.UTF8.encode(key);
  while (true) {
    store<u32>(number, 0);
    const found = taken(getShared(changetype<usize>(k), k.byteLength, at, size, number));
    const next = (found.length > 0 ? U32.parseInt(found) : 0) + 1;
    const text = String.UTF8.encode(next.toString());
    if (setShared(changetype<usize>(k), k.byteLength, changetype<usize>(text), text.byteLength, load<u32>(number)) != CAS_MISMATCH) {
      return next;
    }
  }
}
