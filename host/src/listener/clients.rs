//! Open connections of each client, over all workers.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

/// Counts connections by client while they are open.
#[derive(Debug, Default)]
pub(super) struct Clients(DashMap<IpAddr, usize>);

/// One connection of a client.
pub(super) struct Counted {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    /// Counts a connection, unless its client has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Counted> {
        let client = client(address);
        let mut count = self.0.entry(client).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted { clients: Arc::clone(self), client })
    }
}

/// Whoever has an IPv6 address has a whole network of them (RFC 6177).
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.clients.0.entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_more_than_it_may_and_is_forgotten_when_it_is_gone() {
        let clients = Arc::<Clients>::default();
        let enter = |address: &str| clients.enter(address.parse().unwrap(), 2);
        let (one, two) = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(one.is_some() && two.is_some() && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        let (three, four) = (enter("2001:db8:1:2::1"), enter("2001:db8:1:2:ffff::9"));
        assert!(three.is_some() && four.is_some() && enter("2001:db8:1:2::3").is_none());
        drop((one, two, three, four));
        assert!(clients.0.is_empty());
    }
}
