//! Name → addresses: `/etc/hosts` first, then servers of DNS, those of `/etc/resolv.conf` with its search domains or those that are
//! configured.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};

use crate::config::{Dns, Family};
use crate::state::targets::Answer;

/// Names that need no server.
const HOSTS: &str = "/etc/hosts";
/// Who is asked, where the configuration does not say.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long what stands in `/etc/hosts` is believed before the file is read again.
const HOSTS_TTL: Duration = Duration::from_secs(5);
/// Limit of one answer to the whole question, over all servers and search domains.
const LONGEST: Duration = Duration::from_secs(30);

/// The addresses of a name.
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    /// How long they may be believed.
    pub(super) ttl: Duration,
    /// The kind of addresses that nobody has told of; those that were known are not to be forgotten.
    pub(super) untold: Option<RecordType>,
}

/// Resolves names as one upstream wants it.
pub(super) struct Resolver {
    dns: Dns,
    /// Made anew when the text of `/etc/hosts` changes.
    hosts: RefCell<(Vec<u8>, Rc<Hosts>)>,
    /// Made anew when the text of `/etc/resolv.conf` changes.
    stub: RefCell<Option<(Vec<u8>, Stub)>>,
}

/// Asks servers.
#[derive(Clone)]
struct Stub {
    resolver: TokioResolver,
    search: Vec<Name>,
    /// A name with fewer dots is sought in the search domains first.
    dots: usize,
    family: Family,
}

impl Resolver {
    pub(super) fn new(dns: Dns) -> Self {
        Self { dns, hosts: RefCell::default(), stub: RefCell::default() }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// There are none, or nobody says.
    pub(super) async fn resolve(&self, host: &str) -> Result<Found, Answer> {
        let name = Name::from_utf8(host).map_err(|error| Answer::Nothing(error.to_string()))?;
        let files = tokio::task::spawn_blocking(|| (std::fs::read(HOSTS), std::fs::read(RESOLV_CONF)));
        let (hosts, resolv_conf) = files.await.map_err(|error| Answer::Failure(error.to_string()))?;
        // A machine without the file has no names in it.
        if let Some(addresses) = self.local(&self.hosts(hosts.unwrap_or_default()), &name) {
            return Ok(Found { addresses, ttl: HOSTS_TTL, untold: None });
        }
        let stub = self.stub(resolv_conf).map_err(Answer::Failure)?;
        let answer = tokio::time::timeout(LONGEST, stub.resolve(name));
        answer.await.unwrap_or_else(|_| Err(Answer::Failure("no answer in time".to_owned())))
    }

    /// What stands in `/etc/hosts`.
    fn hosts(&self, text: Vec<u8>) -> Rc<Hosts> {
        let mut known = self.hosts.borrow_mut();
        if known.0 != text {
            let mut hosts = Hosts::default();
            if let Err(error) = hosts.read_hosts_conf(&text[..]) {
                tracing::warn!(%error, file = HOSTS, "The rest of the file is not used.");
            }
            *known = (text, Rc::new(hosts));
        }
        Rc::clone(&known.1)
    }

    /// What `/etc/hosts` says.
    fn local(&self, hosts: &Hosts, name: &Name) -> Option<Vec<IpAddr>> {
        let kinds: &[RecordType] = match self.dns.family {
            Family::Any => &[RecordType::A, RecordType::AAAA],
            Family::Ipv4 => &[RecordType::A],
            Family::Ipv6 => &[RecordType::AAAA],
        };
        let lookups = kinds.iter().filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), *kind)));
        let addresses: Vec<IpAddr> = lookups
            .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect();
        (!addresses.is_empty()).then_some(addresses)
    }

    fn stub(&self, resolv_conf: io::Result<Vec<u8>>) -> Result<Stub, String> {
        let text = match self.dns.servers.is_empty() {
            true => resolv_conf.map_err(|error| format!("{RESOLV_CONF}: {error}"))?,
            false => Vec::new(),
        };
        if let Some((made_of, stub)) = &*self.stub.borrow()
            && *made_of == text
        {
            return Ok(stub.clone());
        }
        let (config, options) = match self.dns.servers.is_empty() {
            true => parse_resolv_conf(&text).map_err(|error| format!("{RESOLV_CONF}: {error}"))?,
            false => {
                let servers = self.dns.servers.iter().copied().map(server).collect();
                (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
            }
        };
        let stub = Stub::new(config, options, self.dns.family)?;
        *self.stub.borrow_mut() = Some((text, stub.clone()));
        Ok(stub)
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (address.port(), address.port());
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

impl Stub {
    fn new(config: ResolverConfig, mut options: ResolverOpts, family: Family) -> Result<Self, String> {
        // Who asks keeps the answers, and has looked into the file.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let (search, dots) = (config.search().to_vec(), options.ndots);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, search, dots, family })
    }

    /// Asks for the name as it stands and in the search domains, in the order of resolv.conf(5). The first that has addresses is taken.
    async fn resolve(&self, name: Name) -> Result<Found, Answer> {
        let mut problem: Option<Answer> = None;
        for candidate in self.candidates(&name) {
            match (self.ask(&candidate).await, &problem) {
                (Ok(found), _) => return Ok(found),
                // Whether a name that nobody answers for exists is not known, whatever is known of the others.
                (Err(failure @ Answer::Failure(_)), _) => problem = Some(failure),
                (Err(nothing), None) => problem = Some(nothing),
                (Err(_), Some(_)) => {}
            }
        }
        Err(problem.unwrap_or_else(|| Answer::Nothing("there is no such name".to_owned())))
    }

    /// Asks for both kinds of addresses, each by itself: of half an answer the other half must not be taken for an answer, too.
    async fn ask(&self, name: &Name) -> Result<Found, Answer> {
        let (ipv4, ipv6) = match self.family {
            Family::Any => tokio::join!(self.ask_for(name, RecordType::A), self.ask_for(name, RecordType::AAAA)),
            Family::Ipv4 => return self.ask_for(name, RecordType::A).await,
            Family::Ipv6 => return self.ask_for(name, RecordType::AAAA).await,
        };
        match (ipv4, ipv6) {
            (Ok(mut one), Ok(other)) => {
                one.addresses.extend(other.addresses);
                Ok(Found { ttl: one.ttl.min(other.ttl), ..one })
            }
            (Ok(found), Err(Answer::Failure(_))) => Ok(Found { untold: Some(RecordType::AAAA), ..found }),
            (Err(Answer::Failure(_)), Ok(found)) => Ok(Found { untold: Some(RecordType::A), ..found }),
            (Ok(found), Err(Answer::Nothing(_))) | (Err(Answer::Nothing(_)), Ok(found)) => Ok(found),
            (Err(failure @ Answer::Failure(_)), Err(_)) | (Err(_), Err(failure)) => Err(failure),
        }
    }

    async fn ask_for(&self, name: &Name, kind: RecordType) -> Result<Found, Answer> {
        let nothing = |text: &str| Err(Answer::Nothing(text.to_owned()));
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => {
                let records = lookup.answers();
                let addresses: Vec<IpAddr> = records.iter().filter_map(|record| record.data.ip_addr()).collect();
                if addresses.is_empty() {
                    return nothing("it has no addresses");
                }
                let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
                Ok(Found { addresses, ttl: Duration::from_secs(ttl.into()), untold: None })
            }
            Err(error) if !error.is_no_records_found() => Err(Answer::Failure(told(&error))),
            Err(error) if error.is_nx_domain() => nothing("there is no such name"),
            Err(_) => nothing("it has no addresses"),
        }
    }

    fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() || name.is_localhost() {
            return vec![whole];
        }
        // A name that becomes too long in a domain is none of that domain.
        let mut all: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        all.iter_mut().for_each(|candidate| candidate.set_fqdn(true));
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        all.insert(if dots >= self.dots { 0 } else { all.len() }, whole);
        all
    }
}

/// Without what changes from one question to the next, so that the same problem is told once.
fn told(error: &NetError) -> String {
    match error {
        NetError::Timeout => "no server answers in time".to_owned(),
        NetError::NoConnections => "no server can be reached".to_owned(),
        NetError::Io(error) => format!("no server can be reached: {error}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sought_as_resolv_conf_says() {
        let (config, options) =
            parse_resolv_conf("nameserver 127.0.0.1\nsearch a.example b.example\noptions ndots:2").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let stub = Stub::new(config, options, Family::Any).unwrap();
        let sought = |name: &str| -> Vec<String> {
            stub.candidates(&Name::from_utf8(name).unwrap()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(sought("users"), ["users.a.example.", "users.b.example.", "users."]);
        assert_eq!(sought("x.users"), ["x.users.a.example.", "x.users.b.example.", "x.users."]);
        assert_eq!(sought("x.y.users"), ["x.y.users.", "x.y.users.a.example.", "x.y.users.b.example."]);
        assert_eq!(sought("users."), ["users."]);
        assert_eq!(sought("localhost"), ["localhost."]);
    }
}
