// A filter in Go that does a little of everything, as the request's x-do asks.
package main

import "strconv"

const language = "go"

// What a stream was asked to do, and which stream waits for which call.
var (
	asked   = map[uint32]string{}
	waiting = map[uint32]uint32{}
	ticks   = 0
)

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func version() {}

//go:wasmexport proxy_on_context_create
func create(context, parent uint32) {}

//go:wasmexport proxy_on_vm_start
func start(context, size uint32) uint32 { return 1 }

//go:wasmexport proxy_on_configure
func configure(context, size uint32) uint32 {
	setTickPeriod(10)
	return 1
}

//go:wasmexport proxy_on_tick
func tick(context uint32) { ticks++ }

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count_, end uint32) uint32 {
	do := header(requestHeaders, "x-do")
	asked[context] = do
	add(requestHeaders, "x-language", language)
	switch do {
	case "reply":
		reply(418, "reply from "+language)
		return pause
	case "call":
		waiting[call("side", "/"+language)] = context
		return pause
	case "body":
		remove(requestHeaders, "content-length")
		return pause
	case "property":
		add(requestHeaders, "x-url-path", property("request\x00url_path"))
	case "state":
		add(requestHeaders, "x-count", strconv.Itoa(int(count("count"))))
	}
	return goOn
}

//go:wasmexport proxy_on_request_body
func onRequestBody(context, size, end uint32) uint32 {
	if asked[context] != "body" {
		return goOn
	}
	if end == 0 {
		return pause
	}
	replaceBuffer(requestBody, size, "<"+buffer(requestBody, size)+"> in "+language)
	return goOn
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count_, end uint32) uint32 {
	if asked[context] == "time" && ticks > 2 {
		add(responseHeaders, "x-ticked", "yes")
	}
	return goOn
}

//go:wasmexport proxy_on_http_call_response
func onAnswer(context, token, headers, size, trailers uint32) {
	answer := buffer(callBody, size)
	setEffectiveContext(waiting[token])
	delete(waiting, token)
	add(requestHeaders, "x-answer", answer)
	continueStream(requestStream)
}

//go:wasmexport proxy_on_done
func done(context uint32) uint32 { return 1 }

//go:wasmexport proxy_on_log
func log(context uint32) {}

//go:wasmexport proxy_on_delete
func remove_(context uint32) { delete(asked, context) }
