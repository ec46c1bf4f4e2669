//! The ABI's serialised map: a count, then the lengths of every key and value, then the bytes, each followed by NUL.
//!
//! All integers are 32-bit little-endian. An empty map is written as nothing; nothing, one zero byte (the
//! specification) and a zero count (the Rust SDK) are read as one.

use super::limits::{PAIRS, PAIRS_BYTES};

/// The bytes are no map, or one beyond the bounds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A key and its value.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Reads a map.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Malformed> {
    if bytes.is_empty() || bytes == [0] {
        return Ok(Vec::new());
    }
    if bytes.len() > PAIRS_BYTES {
        return Err(Malformed);
    }
    let (count, rest) = word(bytes)?;
    if count > PAIRS {
        return Err(Malformed);
    }
    let (mut lengths, mut data) = rest.split_at_checked(count * 8).ok_or(Malformed)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (key, value);
        (key, lengths) = word(lengths)?;
        (value, lengths) = word(lengths)?;
        let key = terminated(&mut data, key)?;
        pairs.push((key, terminated(&mut data, value)?));
    }
    Ok(pairs)
}

/// Appends a map to `out`. Passes over `pairs` twice.
pub(super) fn encode<'a>(pairs: impl Iterator<Item = Pair<'a>> + Clone, out: &mut Vec<u8>) {
    let count = pairs.clone().count();
    if count == 0 {
        return;
    }
    let push = |length: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    };
    push(count, out);
    for (key, value) in pairs.clone() {
        push(key.len(), out);
        push(value.len(), out);
    }
    for (key, value) in pairs {
        out.extend_from_slice(key);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
}

fn word(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (word, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    Ok((usize::try_from(u32::from_le_bytes(*word)).map_err(|_| Malformed)?, rest))
}

fn terminated<'a>(data: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (bytes, rest) = data.split_at_checked(length).ok_or(Malformed)?;
    *data = rest.strip_prefix(&[0]).ok_or(Malformed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let pairs: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"", b""), (b"set-cookie", b"x\0y")];
        let mut bytes = Vec::new();
        encode(pairs.iter().copied(), &mut bytes);
        assert_eq!(decode(&bytes).as_deref(), Ok(pairs.as_slice()));
    }
    #[test]
    fn three_ways_to_write_nothing_are_read_as_nothing() {
        for bytes in [&b""[..], b"\0", b"\0\0\0\0"] {
            assert_eq!(decode(bytes), Ok(Vec::new()));
        }
    }
    #[test]
    fn maps_that_promise_more_than_they_hold_are_malformed() {
        let mut bytes = Vec::new();
        encode([(&b"key"[..], &b"value"[..])].into_iter(), &mut bytes);
        for end in 1..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(Malformed), "cut at {end}");
        }
        assert_eq!(decode(&u32::MAX.to_le_bytes()), Err(Malformed));
        assert_eq!(decode(&vec![1; PAIRS_BYTES + 1]), Err(Malformed));
        bytes[4] = 0xff;
        assert_eq!(decode(&bytes), Err(Malformed));
    }
}
