//! A server of DNS (RFC 1035) that says what a test tells it to, over UDP.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::wait::eventually;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// These are its addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// There is no such name (NXDOMAIN); that of every name that was not spoken of.
    NoName,
    /// Something is wrong (SERVFAIL).
    Failure,
    /// These are its addresses of IPv6; of those of IPv4, something is wrong.
    HalfFailure(Vec<IpAddr>),
}

#[derive(Default)]
struct Zone {
    names: HashMap<String, Says>,
    /// Questions for addresses of IPv4.
    asked: HashMap<String, usize>,
}

/// See the module. Silent when dropped.
pub struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: AbortHandle,
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl DnsServer {
    /// One that knows no names.
    ///
    /// # Panics
    /// The kernel has no port.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("the kernel has a port");
        let address = socket.local_addr().expect("it is bound");
        let zone = Arc::<Mutex<Zone>>::default();
        let known = Arc::clone(&zone);
        let serving = tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut question).await {
                if let Some(answer) = answer(&question[..length], &known) {
                    // Whether the peer still listens is its own business.
                    socket.send_to(&answer, peer).await.ok();
                }
            }
        });
        Self { address, zone, serving: serving.abort_handle() }
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// From now on it says this of a name (lower-case, without a dot at its end).
    ///
    /// # Panics
    /// An answer panicked.
    pub fn says(&self, name: &str, says: Says) {
        self.zone.lock().expect("no answer panics").names.insert(name.to_owned(), says);
    }
    /// From now on a name has these addresses, which nobody may keep.
    ///
    /// # Panics
    /// One is no address.
    pub fn has(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.says(name, Says::Addresses(addresses, 0));
    }
    /// How often a name was asked for.
    ///
    /// # Panics
    /// An answer panicked.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        self.zone.lock().expect("no answer panics").asked.get(name).copied().unwrap_or(0)
    }
    /// Waits until a name was asked for so many times more.
    pub async fn wait_for(&self, name: &str, more: usize) {
        let before = self.asked(name);
        eventually("the name is asked for", || std::future::ready(self.asked(name) >= before + more)).await;
    }
}

/// The answer to one question; none to what is not understood.
fn answer(question: &[u8], zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let says = {
        let mut zone = zone.lock().expect("no answer panics");
        if kind == 1 {
            *zone.asked.entry(name.clone()).or_insert(0) += 1;
        }
        zone.names.get(&name).cloned().unwrap_or(Says::NoName)
    };
    let (code, addresses, ttl) = match says {
        Says::Addresses(addresses, ttl) => (0, addresses, ttl),
        Says::NoName => (3, Vec::new(), 0),
        Says::Failure => (2, Vec::new(), 0),
        Says::HalfFailure(_) if kind == 1 => (2, Vec::new(), 0),
        Says::HalfFailure(addresses) => (0, addresses, 0),
    };
    let wanted: Vec<IpAddr> =
        addresses.into_iter().filter(|address| kind == if address.is_ipv4() { 1 } else { 28 }).collect();
    // An answer to a recursive question, with one question and the records.
    let mut bytes = vec![question[0], question[1], 0x81, 0x80 | code, 0, 1, 0, u8::try_from(wanted.len()).ok()?];
    bytes.extend([0; 4]);
    bytes.extend(question.get(12..end + 4)?);
    for address in wanted {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The name is that of the question; the class is IN.
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend([0, u8::try_from(data.len()).ok()?]);
        bytes.extend(data);
    }
    Some(bytes)
}

/// The name that is asked for, lower-case, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
}
