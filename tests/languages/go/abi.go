// The part of Proxy-Wasm 0.2.1 that the filter uses, without an SDK.
package main

import "unsafe"

const (
	requestHeaders  = 0
	responseHeaders = 2
	requestBody     = 0
	callBody        = 4
	requestStream   = 0

	goOn  = 0
	pause = 1

	ok       = 0
	mismatch = 8
)

//go:wasmimport env proxy_add_header_map_value
func addHeader(kind uint32, key unsafe.Pointer, keySize uint32, value unsafe.Pointer, valueSize uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func removeHeader(kind uint32, key unsafe.Pointer, keySize uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func getHeader(kind uint32, key unsafe.Pointer, keySize uint32, value, valueSize unsafe.Pointer) uint32

//go:wasmimport env proxy_get_buffer_bytes
func getBuffer(kind, start, length uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func setBuffer(kind, start, length uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_send_local_response
func sendReply(status uint32, details unsafe.Pointer, detailsSize uint32, body unsafe.Pointer, bodySize uint32, headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

//go:wasmimport env proxy_http_call
func httpCall(upstream unsafe.Pointer, upstreamSize uint32, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize, timeout uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_set_effective_context
func setEffectiveContext(context uint32) uint32

//go:wasmimport env proxy_continue_stream
func continueStream(kind uint32) uint32

//go:wasmimport env proxy_get_property
func getProperty(path unsafe.Pointer, pathSize uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_get_shared_data
func getShared(key unsafe.Pointer, keySize uint32, value, size, cas unsafe.Pointer) uint32

//go:wasmimport env proxy_set_shared_data
func setShared(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, valueSize, cas uint32) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func setTickPeriod(milliseconds uint32) uint32

// What the host has asked for, kept until it is taken: the collector must not free it before.
var allocated = map[unsafe.Pointer][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	bytes := make([]byte, max(size, 1))
	allocated[unsafe.Pointer(&bytes[0])] = bytes
	return unsafe.Pointer(&bytes[0])
}

// Text that the host has written where it was told to allocate.
func taken(at unsafe.Pointer, size uint32) string {
	bytes := allocated[at]
	delete(allocated, at)
	return string(bytes[:size])
}

func address(text string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))
}

func add(kind uint32, key, value string) {
	k, kl := address(key)
	v, vl := address(value)
	addHeader(kind, k, kl, v, vl)
}

func remove(kind uint32, key string) {
	k, kl := address(key)
	removeHeader(kind, k, kl)
}

func header(kind uint32, key string) string {
	k, kl := address(key)
	var at unsafe.Pointer
	var size uint32
	if getHeader(kind, k, kl, unsafe.Pointer(&at), unsafe.Pointer(&size)) != ok {
		return ""
	}
	return taken(at, size)
}

func buffer(kind, length uint32) string {
	var at unsafe.Pointer
	var size uint32
	if getBuffer(kind, 0, length, unsafe.Pointer(&at), unsafe.Pointer(&size)) != ok {
		return ""
	}
	return taken(at, size)
}

func replaceBuffer(kind, length uint32, text string) {
	t, tl := address(text)
	setBuffer(kind, 0, length, t, tl)
}

func property(path string) string {
	p, pl := address(path)
	var at unsafe.Pointer
	var size uint32
	if getProperty(p, pl, unsafe.Pointer(&at), unsafe.Pointer(&size)) != ok {
		return ""
	}
	return taken(at, size)
}

func reply(status uint32, body string) {
	b, bl := address(body)
	sendReply(status, nil, 0, b, bl, nil, 0, -1)
}

// Pairs in the ABI's own format.
func pairs(fields [][2]string) string {
	word := func(number int) string {
		return string([]byte{byte(number), byte(number >> 8), byte(number >> 16), byte(number >> 24)})
	}
	sizes, data := word(len(fields)), ""
	for _, field := range fields {
		sizes += word(len(field[0])) + word(len(field[1]))
		data += field[0] + "\x00" + field[1] + "\x00"
	}
	return sizes + data
}

func call(upstream, path string) uint32 {
	headers := pairs([][2]string{{":method", "GET"}, {":path", path}, {":authority", upstream}})
	u, ul := address(upstream)
	h, hl := address(headers)
	var token uint32
	httpCall(u, ul, h, hl, nil, 0, nil, 0, 5000, unsafe.Pointer(&token))
	return token
}

// Adds one to a shared number, and answers the sum.
func count(key string) byte {
	k, kl := address(key)
	for {
		var at unsafe.Pointer
		var size, cas uint32
		number := byte(0)
		if getShared(k, kl, unsafe.Pointer(&at), unsafe.Pointer(&size), unsafe.Pointer(&cas)) == ok && size > 0 {
			number = taken(at, size)[0]
		}
		next := [1]byte{number + 1}
		if setShared(k, kl, unsafe.Pointer(&next), 1, cas) != mismatch {
			return next[0]
		}
	}
}
