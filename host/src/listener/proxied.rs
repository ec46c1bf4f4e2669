//! The PROXY protocol (HAProxy's, versions 1 and 2): a load balancer's first bytes tell who is at its other end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt;

use super::socket::Stream;

/// Bytes that tell the versions apart, and that the shortest header has.
const OPENING: usize = 12;
/// What a header of version 2 begins with.
const SIGNATURE: &[u8; OPENING] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, bytes (§2.1 of the specification).
const V1_BYTES: usize = 107;
/// Most bytes after the fixed part of a header of version 2: addresses and what load balancers add.
const V2_BYTES: usize = 2048;

/// Reads the header and nothing behind it. Answers the client's address and the one it connected to; `None` for connections that
/// the load balancer makes for itself, such as health checks.
///
/// # Errors
/// There is none, it is malformed, or it takes too long.
pub(super) async fn read(stream: &mut Stream, timeout: Duration) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let header = tokio::time::timeout(timeout, header(stream)).await;
    let header = header.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match HeaderResult::parse(&header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(ip) => Some((
                SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port),
                SocketAddr::new(IpAddr::V4(ip.destination_address), ip.destination_port),
            )),
            v1::Addresses::Tcp6(ip) => Some((
                SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port),
                SocketAddr::new(IpAddr::V6(ip.destination_address), ip.destination_port),
            )),
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => Some((
                SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port),
                SocketAddr::new(IpAddr::V4(ip.destination_address), ip.destination_port),
            )),
            (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => Some((
                SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port),
                SocketAddr::new(IpAddr::V6(ip.destination_address), ip.destination_port),
            )),
            _ => None,
        }),
        HeaderResult::V1(Err(error)) => Err(malformed(&error)),
        HeaderResult::V2(Err(error)) => Err(malformed(&error)),
    }
}

fn malformed(error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed PROXY header: {error}"))
}

async fn header(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut header = vec![0; OPENING];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        // Version and command, family, and how much follows.
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [_, _, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_BYTES {
            return Err(malformed(&"it is too long"));
        }
        header.extend(fixed);
        header.resize(OPENING + fixed.len() + length, 0);
        stream.read_exact(&mut header[OPENING + fixed.len()..]).await?;
        return Ok(header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(malformed(&"there is none"));
    }
    // Byte by byte, as what follows is not ours to read; there are a hundred at most.
    while !header.ends_with(b"\r\n") {
        if header.len() == V1_BYTES {
            return Err(malformed(&"it is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}
