//! Where the gateway listens: `listeners`, `admin`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::{UpstreamNames, all, suggest, tcp, tls};
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::{Admin, Listener, Token};

/// Most characters of a name.
const NAME_CHARS: usize = 128;

const ALONE: &str = "a listener before it has this address: with \"name\", \"tls\", \"proxy_protocol\" or \"trusted_proxies\" it has to be another, port 0 or not";

/// Least characters of the admin API's token: 96 bits of base64.
const LEAST_TOKEN: usize = 16;

pub(super) fn listeners(node: &Node<'_>, upstreams: &UpstreamNames) -> Option<Vec<Listener>> {
    let nodes = node.some_elements()?;
    let mut taken: Vec<SocketAddr> = Vec::new();
    let mut alone: Vec<SocketAddr> = Vec::new();
    let mut names: Vec<Arc<str>> = Vec::new();
    let listeners = all(&nodes, |node| {
        let mut fields = Fields::of(node)?;
        let named = fields.optional("name").map(|node| name(&node, &mut names));
        let place = fields.required("address");
        let has_tls = fields.optional("tls");
        let tcp = fields.optional("tcp").map(|node| tcp::service(&node, upstreams));
        let proxy_protocol = fields.optional("proxy_protocol").map_or(Some(false), |node| node.boolean());
        let trusted =
            fields.optional("trusted_proxies").map_or(Some(Vec::new()), |node| all(&node.elements()?, network));
        fields.finish();
        let tls = has_tls.as_ref().map(|node| tls::tls(node, tcp.is_some()));
        let place = place?;
        let address = free_address(&place, &taken)?;
        // What belongs to a connection's listener is told by its address.
        let particular = named.is_some()
            || has_tls.is_some()
            || proxy_protocol == Some(true)
            || trusted.as_ref().is_some_and(|all| !all.is_empty());
        if alone.contains(&address) || (particular && taken.contains(&address)) {
            place.problem(ALONE);
            return None;
        }
        taken.push(address);
        alone.extend(particular.then_some(address));
        Some(Listener {
            name: match named {
                Some(name) => Some(name?),
                None => None,
            },
            address,
            proxy_protocol: proxy_protocol?,
            trusted_proxies: trusted?.into(),
            tcp: match tcp {
                Some(tcp) => Some(tcp?),
                None => None,
            },
            tls: match tls {
                Some(tls) => Some(tls?),
                None => None,
            },
        })
    })?;
    tcp::alone(&nodes, &listeners)?;
    (!listeners.is_empty()).then_some(listeners)
}

/// A listener's name, which no other has.
fn name(node: &Node<'_>, names: &mut Vec<Arc<str>>) -> Option<Arc<str>> {
    let text = node.text()?;
    if text.value.is_empty() || text.value.chars().count() > NAME_CHARS || text.value.contains(char::is_control) {
        node.problem(format!("a listener's name has 1 to {NAME_CHARS} characters, found {}", text.shown));
        return None;
    }
    if names.iter().any(|known| **known == *text.value) {
        node.problem(format!("a listener before it has the name {}", text.shown));
        return None;
    }
    let name: Arc<str> = text.value.into();
    names.push(Arc::clone(&name));
    Some(name)
}

/// The listeners that routes may name.
pub(super) struct ListenerNames<'a>(Option<&'a [Listener]>);

impl<'a> ListenerNames<'a> {
    /// `None`: the listeners are faulty, which is reported where they stand, and any name may be right.
    pub(super) fn of(listeners: Option<&'a [Listener]>) -> Self {
        Self(listeners)
    }
    /// The address of the listener for HTTP that `node` names.
    pub(super) fn resolve(&self, node: &Node<'_>) -> Option<SocketAddr> {
        let text = node.text()?;
        let Some(listeners) = self.0 else { return Some(SocketAddr::from(([0; 4], 0))) };
        let called = |listener: &&Listener| listener.name.as_deref() == Some(&*text.value);
        match listeners.iter().find(called) {
            Some(listener) if listener.tcp.is_some() => {
                node.problem(format!("the listener {} carries TCP connections, which have no routes", text.shown));
                None
            }
            Some(listener) => Some(listener.address),
            None => {
                let http = listeners.iter().filter(|listener| listener.tcp.is_none());
                let suggestion = suggest(&text, http.filter_map(|listener| listener.name.as_deref()));
                node.problem_suggesting(format!("unknown listener {}", text.shown), suggestion);
                None
            }
        }
    }
}

/// `"10.0.0.0/8"`, or one address.
fn network(node: &Node<'_>) -> Option<IpNet> {
    node.parsed("a network such as \"10.0.0.0/8\", or an address", |text| {
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    })
}

pub(super) fn admin(node: &Node<'_>, listeners: &[Listener]) -> Option<Admin> {
    let taken: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    let mut fields = Fields::of(node)?;
    let (place, has_tls, token) = (fields.required("address"), fields.optional("tls"), fields.optional("token"));
    fields.finish();
    // As for bytes: there is one protocol, and nobody has to agree on it.
    let tls = has_tls.as_ref().map(|node| tls::tls(node, true));
    let token = token.map(|node| secret(&node, has_tls.is_some()));
    let address = free_address(&place?, &taken);
    Some(Admin {
        address: address?,
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        token: match token {
            Some(token) => Some(token?),
            None => None,
        },
    })
}

/// What lets its bearer change something: long enough that nobody guesses it, and never in the clear.
fn secret(node: &Node<'_>, has_tls: bool) -> Option<Token> {
    let text = node.text()?;
    if text.value.len() < LEAST_TOKEN || !text.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        node.problem(format!("must have at least {LEAST_TOKEN} characters, visible ASCII only"));
        return None;
    }
    if !has_tls {
        node.problem("needs \"tls\" beside it: in the clear, whoever is on the way reads it");
        return None;
    }
    Some(Token::of(&text.value))
}

/// An address that no listener has. Port 0 is free each time.
fn free_address(place: &Node<'_>, taken: &[SocketAddr]) -> Option<SocketAddr> {
    let address = address(place)?;
    if address.port() != 0 && taken.contains(&address) {
        place.problem("a listener before it has this address");
        return None;
    }
    Some(address)
}

fn address(node: &Node<'_>) -> Option<SocketAddr> {
    let text = node.text()?;
    if let Ok(address) = text.value.parse() {
        return Some(address);
    }
    let suggestion = if text.secret { None } else { complete(&text.value) };
    let message = format!("expected an address and a port such as \"127.0.0.1:8080\", found {}", text.shown);
    node.problem_suggesting(message, suggestion);
    None
}

/// The address that a short form of other programs means: `:8080`, `8080`, `localhost:8080`, `[::1]`.
fn complete(text: &str) -> Option<String> {
    let whole = match (text.strip_prefix("localhost"), text.strip_prefix(':')) {
        (Some(port), _) => format!("127.0.0.1{port}"),
        (_, Some(port)) => format!("0.0.0.0:{port}"),
        _ if text.parse::<u16>().is_ok() => format!("127.0.0.1:{text}"),
        _ => format!("{text}:8080"),
    };
    whole.parse::<SocketAddr>().is_ok().then_some(whole)
}
