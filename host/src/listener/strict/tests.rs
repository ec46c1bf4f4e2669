//! Rows of raw bytes, each also fed byte by byte: pieces must not matter.

use super::*;

/// Feeds the bytes whole and one by one; both must say the same.
fn verdict(bytes: &[u8]) -> Result<(), Broken> {
    let whole = Watcher::default().feed(bytes);
    let mut watcher = Watcher::default();
    let pieces = bytes.iter().try_for_each(|byte| watcher.feed(std::slice::from_ref(byte)));
    assert_eq!(whole, pieces, "pieces matter in {:?}", String::from_utf8_lossy(bytes));
    whole
}

#[test]
fn what_is_well_framed_passes() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 17\r\n\r\nContent-Length: 5GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\ncontent-length: 5\r\n\r\nabcde\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA  \r\n0123456789\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nCookie: a\r\nTE: trailers\r\ncontent-type: x\r\n\r\n",
    ] {
        assert_eq!(verdict(bytes), Ok(()), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn heads_that_two_servers_could_read_differently_are_named() {
    use BadRequest::{DuplicateLength, Fragment, InvalidEncoding, InvalidLength, LengthAndEncoding, LineEnding};
    for (bytes, head, rule) in [
        (&b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"[..], 0, LengthAndEncoding),
        (b"POST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\ncontent-length: 5\r\n\r\n", 0, LengthAndEncoding),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 0, DuplicateLength),
        (b"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", 0, InvalidLength),
        (b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", 0, InvalidLength),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 0, InvalidLength),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0, InvalidEncoding),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0, InvalidEncoding),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 0, LineEnding),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 0, LineEnding),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 0, LineEnding),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 0, Fragment),
        (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\n", 1, LineEnding),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabPOST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            1,
            InvalidLength,
        ),
    ] {
        assert_eq!(verdict(bytes), Err(Broken::Head(head, rule)), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn loose_chunk_framing_is_named() {
    for body in [
        &b"5\nhello\r\n0\r\n\r\n"[..],
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"10000000000000000\r\nhello",
        b"0\r\nx: y\n\r\n",
    ] {
        let bytes = [b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", body].concat();
        assert!(matches!(verdict(&bytes), Err(Broken::Body(..))), "{:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn nothing_is_said_after_the_first_broken_rule() {
    let mut watcher = Watcher::default();
    assert!(watcher.feed(b"GET / HTTP/1.1\n").is_err());
    assert_eq!(watcher.feed(b"\n\n\n"), Ok(()));
}

#[test]
fn a_long_line_keeps_a_bounded_beginning() {
    let mut watcher = Watcher::default();
    assert_eq!(watcher.feed(b"GET / HTTP/1.1\r\nCookie: "), Ok(()));
    for _ in 0..1000 {
        assert_eq!(watcher.feed(b"0123456789"), Ok(()));
    }
    assert!(watcher.line.len() <= LINE_BYTES);
    assert!(watcher.is_mid_head());
    assert_eq!(watcher.feed(b"\r\n\r\n"), Ok(()));
    assert!(!watcher.is_mid_head());
}

#[test]
fn a_long_line_that_arrives_at_once_does_not_make_the_next_one_long() {
    let mut watcher = Watcher::default();
    let cookie = format!("POST / HTTP/1.1\r\nCookie: {}\r\nContent-Len", "a".repeat(300));
    assert_eq!(watcher.feed(cookie.as_bytes()), Ok(()));
    assert_eq!(watcher.feed(b"gth: 5\r\n\r\nhelloGET /"), Ok(()), "the length is short, and all of it is there");
    assert_eq!((watcher.state, watcher.heads), (State::RequestLine, 1));
}

#[test]
fn what_is_cut_off_a_long_line_decides_nothing() {
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = |text: &str| text.repeat(300);
    for (text, broken) in [
        (format!("{chunked}{}5\r\nhello\r\n0\r\n\r\n", long("0")), Broken::Body(0, BadRequest::InvalidEncoding)),
        (format!("{chunked}5;{}\x01\r\nhello\r\n0\r\n\r\n", long("a")), Broken::Body(0, BadRequest::InvalidEncoding)),
        (format!("GET /{}#x HTTP/1.1\r\n\r\n", long("a")), Broken::Head(0, BadRequest::Fragment)),
        (
            format!("POST / HTTP/1.1\r\nContent-Length: {}5\r\n\r\n", long(" ")),
            Broken::Head(0, BadRequest::InvalidLength),
        ),
    ] {
        assert_eq!(verdict(text.as_bytes()), Err(broken), "{text:?}");
    }
    for text in [
        format!("GET /{} HTTP/1.1\r\nx-long: {}\r\n\r\n", long("a"), long("#")),
        format!("{chunked}5;{}\r\nhello\r\n0\r\nx: {}\r\n\r\nGET / HTTP/1.1\r\n\r\n", "a".repeat(253), long("y")),
    ] {
        assert_eq!(verdict(text.as_bytes()), Ok(()), "{text:?}");
    }
}
