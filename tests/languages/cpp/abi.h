// The part of Proxy-Wasm 0.2.1 that the filter uses, without an SDK.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define HOSTCALL(name) extern "C" __attribute__((import_module("env"), import_name(#name))) uint32_t name
#define CALLBACK(name) extern "C" __attribute__((export_name(#name)))

enum Kind : uint32_t { RequestHeaders = 0, ResponseHeaders = 2 };
enum Buffer : uint32_t { RequestBody = 0, CallBody = 4 };
enum Action : uint32_t { Continue = 0, Pause = 1 };
constexpr uint32_t Ok = 0, CasMismatch = 8, RequestStream = 0;

HOSTCALL(proxy_add_header_map_value)(Kind, const char *, size_t, const char *, size_t);
HOSTCALL(proxy_remove_header_map_value)(Kind, const char *, size_t);
HOSTCALL(proxy_get_header_map_value)(Kind, const char *, size_t, char **, size_t *);
HOSTCALL(proxy_get_buffer_bytes)(Buffer, size_t start, size_t length, char **, size_t *);
HOSTCALL(proxy_set_buffer_bytes)(Buffer, size_t start, size_t length, const char *, size_t);
HOSTCALL(proxy_send_local_response)(uint32_t status, const char *, size_t, const char *body, size_t, const char *headers, size_t, int32_t grpc);
HOSTCALL(proxy_http_call)(const char *upstream, size_t, const char *headers, size_t, const char *body, size_t, const char *trailers, size_t, uint32_t timeout, uint32_t *token);
HOSTCALL(proxy_set_effective_context)(uint32_t);
HOSTCALL(proxy_continue_stream)(uint32_t);
HOSTCALL(proxy_get_property)(const char *, size_t, char **, size_t *);
HOSTCALL(proxy_get_shared_data)(const char *, size_t, char **, size_t *, uint32_t *cas);
HOSTCALL(proxy_set_shared_data)(const char *, size_t, const char *, size_t, uint32_t cas);
HOSTCALL(proxy_set_tick_period_milliseconds)(uint32_t);

// What the host writes is allocated by its asking, and is the filter's to free.
CALLBACK(proxy_on_memory_allocate) void *allocate(size_t size) { return std::malloc(size); }

struct Taken {
  char *at = nullptr;
  size_t size = 0;
  std::string text(uint32_t status) {
    std::unique_ptr<char, decltype(&std::free)> owned(status == Ok ? at : nullptr, std::free);
    return owned ? std::string(at, size) : std::string();
  }
};

inline void add(Kind kind, std::string_view key, std::string_view value) {
  proxy_add_header_map_value(kind, key.data(), key.size(), value.data(), value.size());
}

inline void remove(Kind kind, std::string_view key) { proxy_remove_header_map_value(kind, key.data(), key.size()); }

inline std::string header(Kind kind, std::string_view key) {
  Taken value;
  return value.text(proxy_get_header_map_value(kind, key.data(), key.size(), &value.at, &value.size));
}

inline std::string buffer(Buffer kind, size_t length) {
  Taken bytes;
  return bytes.text(proxy_get_buffer_bytes(kind, 0, length, &bytes.at, &bytes.size));
}

inline void replace(Buffer kind, size_t length, std::string_view text) {
  proxy_set_buffer_bytes(kind, 0, length, text.data(), text.size());
}

inline std::string property(std::string_view path) {
  Taken value;
  return value.text(proxy_get_property(path.data(), path.size(), &value.at, &value.size));
}

inline void reply(uint32_t status, std::string_view body) {
  proxy_send_local_response(status, nullptr, 0, body.data(), body.size(), nullptr, 0, -1);
}

// Pairs in the ABI's own format.
inline std::string pairs(const std::vector<std::pair<std::string, std::string>> &fields) {
  std::string sizes, data;
  auto word = [&sizes](uint32_t number) { sizes.append(reinterpret_cast<const char *>(&number), sizeof number); };
  word(fields.size());
  for (const auto &[key, value] : fields) {
    word(key.size());
    word(value.size());
    data.append(key).push_back('\0');
    data.append(value).push_back('\0');
  }
  return sizes + data;
}

inline uint32_t call(std::string_view upstream, const std::string &path) {
  auto headers = pairs({{":method", "GET"}, {":path", path}, {":authority", std::string(upstream)}});
  uint32_t token = 0;
  proxy_http_call(upstream.data(), upstream.size(), headers.data(), headers.size(), nullptr, 0, nullptr, 0, 5000, &token);
  return token;
}

// Adds one to a shared number, and answers the sum.
inline int count(std::string_view key) {
  while (true) {
    Taken value;
    uint32_t cas = 0;
    auto old = value.text(proxy_get_shared_data(key.data(), key.size(), &value.at, &value.size, &cas));
    char next = old.empty() ? 1 : old[0] + 1;
    if (proxy_set_shared_data(key.data(), key.size(), &next, 1, cas) != CasMismatch) return next;
  }
}
