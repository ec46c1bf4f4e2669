//! The ABI's serialised maps: count, then the lengths of each name and value, then the bytes, each ended by a zero byte.
//! All numbers are 32 bits, little-endian.

use bytes::Bytes;

/// Writes a map.
pub(crate) fn encode<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let size = pairs.clone().map(|(name, value)| name.len() + value.len() + 10).sum::<usize>() + 4;
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&length(pairs.clone().count()));
    for (name, value) in pairs.clone() {
        bytes.extend_from_slice(&length(name.len()));
        bytes.extend_from_slice(&length(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    bytes
}

/// A length in the form of the ABI; nothing in a 32-bit memory is longer.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads a map without copying. What is malformed ends it.
#[derive(Clone)]
pub(crate) struct Pairs {
    bytes: Bytes,
    next: usize,
    count: usize,
    at: usize,
}

impl Pairs {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let count = number(&bytes, 0).unwrap_or(0);
        let at = count.saturating_mul(8).saturating_add(4);
        Self { bytes, next: 0, count, at }
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        let end = self.at.checked_add(length)?;
        if end > self.bytes.len() {
            return None;
        }
        let part = self.bytes.slice(self.at..end);
        self.at = end.saturating_add(1);
        Some(part)
    }
}

impl Iterator for Pairs {
    type Item = (Bytes, Bytes);
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let lengths = 4 + self.next * 8;
        let name = number(&self.bytes, lengths)?;
        let value = number(&self.bytes, lengths + 4)?;
        self.next += 1;
        Some((self.take(name)?, self.take(value)?))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_survive_the_round_trip() {
        let map: [(&[u8], &[u8]); 3] = [(b":path", b"/a"), (b"x", b"\xff\xfe"), (b"empty", b"")];
        let read: Vec<_> = Pairs::new(encode(map.into_iter()).into()).collect();
        assert_eq!(read.len(), 3);
        for ((name, value), expected) in read.iter().zip(map) {
            assert_eq!((&name[..], &value[..]), expected);
        }
    }

    #[test]
    fn malformed_maps_end_early() {
        for bytes in [&b""[..], b"\0", b"\xff\xff\xff\xff", b"\x01\0\0\0\x05\0\0\0\x05\0\0\0ab"] {
            assert_eq!(Pairs::new(Bytes::copy_from_slice(bytes)).count(), 0);
        }
    }
}
