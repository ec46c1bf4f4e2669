// A filter in C++ that does a little of everything, as the request's x-do asks.

#include "abi.h"

#include <map>

static const std::string language = "cpp";

// What a stream was asked to do, and which stream waits for which call.
static std::map<uint32_t, std::string> asked;
static std::map<uint32_t, uint32_t> waiting;
static int ticks = 0;

CALLBACK(proxy_abi_version_0_2_1) void version() {}

CALLBACK(proxy_on_context_create) void on_create(uint32_t, uint32_t) {}

CALLBACK(proxy_on_vm_start) uint32_t on_start(uint32_t, uint32_t) { return true; }

CALLBACK(proxy_on_configure) uint32_t on_configure(uint32_t, uint32_t) {
  proxy_set_tick_period_milliseconds(10);
  return true;
}

CALLBACK(proxy_on_tick) void on_tick(uint32_t) { ticks++; }

CALLBACK(proxy_on_request_headers) Action on_request_headers(uint32_t context, uint32_t, uint32_t) {
  auto ask = asked[context] = header(RequestHeaders, "x-do");
  add(RequestHeaders, "x-language", language);
  if (ask == "reply") {
    reply(418, "reply from " + language);
    return Pause;
  }
  if (ask == "call") {
    waiting[call("side", "/" + language)] = context;
    return Pause;
  }
  if (ask == "body") {
    remove(RequestHeaders, "content-length");
    return Pause;
  }
  if (ask == "property") add(RequestHeaders, "x-url-path", property({"request\0url_path", 16}));
  if (ask == "state") add(RequestHeaders, "x-count", std::to_string(count("count")));
  return Continue;
}

CALLBACK(proxy_on_request_body) Action on_request_body(uint32_t context, uint32_t size, uint32_t end) {
  if (asked[context] != "body") return Continue;
  if (!end) return Pause;
  replace(RequestBody, size, "<" + buffer(RequestBody, size) + "> in " + language);
  return Continue;
}

CALLBACK(proxy_on_response_headers) Action on_response_headers(uint32_t context, uint32_t, uint32_t) {
  if (asked[context] == "time" && ticks > 2) add(ResponseHeaders, "x-ticked", "yes");
  return Continue;
}

CALLBACK(proxy_on_http_call_response) void on_answer(uint32_t, uint32_t token, uint32_t, uint32_t size, uint32_t) {
  auto answer = buffer(CallBody, size);
  proxy_set_effective_context(waiting[token]);
  waiting.erase(token);
  add(RequestHeaders, "x-answer", answer);
  proxy_continue_stream(RequestStream);
}

CALLBACK(proxy_on_done) uint32_t on_done(uint32_t) { return true; }

CALLBACK(proxy_on_log) void on_log(uint32_t) {}

CALLBACK(proxy_on_delete) void on_delete(uint32_t context) { asked.erase(context); }
