//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    path::PathBuf,
    thread::available_parallelism,
    time::Duration,
};

use clap::{ArgGroup, Parser, ValueEnum};
use socks_tower::{
    Egress, IpNet, Keepalive, ListenAddrs,
    works::{egress::SourceAddrs, resolve::Family},
};

use crate::{listen::Listen, names::Dns};

/// A SOCKS4, SOCKS4a and SOCKS5 proxy, which serves HTTP CONNECT too.
#[derive(Parser)]
#[command(version)]
#[command(group = ArgGroup::new("logins").args(["user", "users"]).multiple(true))]
pub struct Args {
    /// Address to listen on, or a name for all of its addresses; may be given
    /// again. `[::]` is all of IPv6 alone, `0.0.0.0` all of IPv4
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:1080")]
    listen: Vec<Listen>,

    /// Let in this user (others on this machine can see arguments: prefer
    /// --users); may be given again. With users, SOCKS4 is refused
    #[arg(long, value_name = "NAME:PASSWORD")]
    pub user: Vec<String>,

    /// Let in the users of a file, one NAME:PASSWORD a line; # begins a comment
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,

    /// Lock a client out, an IPv4 address or an IPv6 /64, once it has given so
    /// many wrong passwords, by SOCKS or HTTP CONNECT: it is refused then, even
    /// with the right one; needs --user or --users [default: never]
    // Without users nobody gives a password: who asks for this alone takes the
    // proxy for a closed one.
    #[arg(long, value_name = "N", requires = "logins")]
    pub lockout_after: Option<NonZeroU32>,

    /// Time that a client is locked out for: twice as long with each further
    /// wrong password, but no longer than an hour, or this if it is more
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        requires = "lockout_after"
    )]
    lockout_time: u64,

    /// Listen off loopback even without users: anybody can use the proxy
    #[arg(long)]
    pub open: bool,

    /// Do not serve HTTP CONNECT, which has the same port and users as SOCKS
    #[arg(long)]
    pub no_http: bool,

    /// Believe the PROXY headers of this load balancer, whose connections must
    /// begin with one; may be given again
    #[arg(long, value_name = "CIDR", value_parser = cidr)]
    pub proxy_protocol: Vec<IpNet>,

    /// Reach all targets through this proxy: socks5h, socks5, socks4a, socks4 or
    /// http `://[NAME:PASSWORD@]HOST[:PORT]` (others on this machine can see
    /// arguments). Given again, they are a pool: each connection takes one, and
    /// another if that fails. CONNECT alone is served then
    #[arg(long, value_name = "URL")]
    pub upstream: Vec<String>,

    /// Reach targets in a domain or a network directly, through a proxy or not at
    /// all; may be given again, and the first that matches counts. What none
    /// matches goes through --upstream, or directly. CONNECT alone is served then
    #[arg(long, value_name = "SUFFIX|CIDR=URL|direct|deny")]
    pub route: Vec<String>,

    /// Let clients reach loopback, private and other special-purpose addresses
    #[arg(long)]
    pub allow_private: bool,

    /// Address that connections and datagrams leave from, or a network for one of
    /// its addresses; may be given again: a pool. Targets of a family that has none
    /// are not reached
    #[arg(long, value_name = "ADDR", value_parser = cidr)]
    source: Vec<IpNet>,

    /// What chooses among several of --source, or in a network
    #[arg(
        long,
        value_name = "WHAT",
        value_enum,
        default_value_t,
        requires = "source"
    )]
    source_by: SourceBy,

    /// Interface that connections and datagrams leave by, whatever the routes say
    /// (Linux)
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// Mark of connections and datagrams, for routes and packet filters: a number,
    /// or 0x and a hexadecimal one (Linux; needs CAP_NET_ADMIN)
    #[arg(long, value_name = "N", value_parser = mark)]
    mark: Option<u32>,

    /// Serve BIND, too: listen for a peer that the client expects
    #[arg(long, conflicts_with_all = ["upstream", "route"])]
    pub bind: bool,

    /// Address by which peers (BIND) and clients' datagrams reach this machine
    /// from behind its NAT; may be given once for IPv4 and once for IPv6
    #[arg(long, value_name = "ADDR")]
    pub advertise: Vec<IpAddr>,

    /// Ports to listen on for peers and clients' datagrams [default: any]
    #[arg(long, value_name = "LOW-HIGH", value_parser = parse_ports)]
    ports: Option<RangeInclusive<u16>>,

    /// Serve Tor's RESOLVE and RESOLVE_PTR, too: look names and addresses up
    #[arg(long, conflicts_with_all = ["upstream", "route"])]
    pub resolve_commands: bool,

    /// Ask this DNS server, and not the system: an address, with a port or without,
    /// `tls://ADDRESS#NAME`, `https://ADDRESS/PATH#NAME` (NAME is its certificate's), or
    /// `system` for those that the system is configured with; may be given again. They
    /// are asked one after the other [default: the system looks names up]
    #[arg(long, value_name = "SERVER")]
    pub dns: Vec<Dns>,

    /// Which addresses of a name to use, or to try first [default: the system's order]
    #[arg(long, value_name = "FAMILY", value_enum)]
    pub family: Option<AddressFamily>,

    /// Time from accept to the request
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    handshake_timeout: u64,

    /// Time from the request to the connection
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    connect_timeout: u64,

    /// Silence after which a tunnel ends
    #[arg(long, value_name = "SECONDS", default_value_t = 7440)]
    idle_timeout: u64,

    /// Silence after which a tunnel ends of which one side is done sending, if
    /// --idle-timeout is not shorter: many clients close without waiting for an
    /// answer
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    half_closed_timeout: u64,

    /// Silence after which the system asks a client, a target or a peer if it is
    /// still there; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u64,

    /// Silence after which a UDP association ends, though its connection stands
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    udp_idle_timeout: u64,

    /// Most destinations of a UDP association at once, which alone may answer;
    /// one more takes the place of that which has been idle for longest
    #[arg(long, value_name = "N", default_value = "1024")]
    pub udp_max_peers: NonZeroUsize,

    /// Time that tunnels have to end once the proxy is told to. Whoever stops it
    /// must wait for longer before it kills it: `docker stop` waits for 10
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    grace: u64,

    /// Most connections at once; more wait in the system's queue [default:
    /// what the limit of descriptors permits]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// Most connections at once of one client, an IPv4 address or an IPv6 /64;
    /// one more is hung up on [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_connections_per_client: Option<NonZeroUsize>,

    /// Threads that serve [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Whether threads share sessions, or each keeps those that it accepted
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,

    /// What to log: a level, or a filter; `warn,socks::access=info` adds the
    /// access log, an event for each session, to the warnings [default:
    /// RUST_LOG, else warn]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,

    /// Form of the log: lines for people, or an object of JSON on each line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Runtime {
    /// Each thread keeps its sessions: fewest system calls. On Linux; elsewhere
    /// that is one thread
    #[cfg_attr(target_os = "linux", default)]
    PerThread,
    /// Sessions move to where there is time for them
    #[cfg_attr(not(target_os = "linux"), default)]
    Shared,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum SourceBy {
    /// They take turns; of a network it is any
    #[default]
    Turns,
    /// A client, an IPv4 address or an IPv6 /64, keeps to one
    Client,
    /// A user keeps to one; without users a client does
    User,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum AddressFamily {
    Ipv4,
    Ipv6,
    PreferIpv4,
    PreferIpv6,
}

impl From<AddressFamily> for Family {
    fn from(family: AddressFamily) -> Self {
        match family {
            AddressFamily::Ipv4 => Self::Ipv4,
            AddressFamily::Ipv6 => Self::Ipv6,
            AddressFamily::PreferIpv4 => Self::PreferIpv4,
            AddressFamily::PreferIpv6 => Self::PreferIpv6,
        }
    }
}

/// A network, or a single address.
fn cidr(text: &str) -> Result<IpNet, String> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.into()),
        Err(_) => text
            .parse()
            .map_err(|_| "not ADDRESS or ADDRESS/BITS".into()),
    }
}

fn mark(text: &str) -> Result<u32, String> {
    let mark = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    mark.map_err(|_| "not a number of 32 bits".into())
}

impl Args {
    /// As many threads as told, or as there are cores; fewer if there are hardly
    /// more connections, since each thread holds a permit in reserve.
    pub fn threads(&self, max_connections: usize) -> NonZeroUsize {
        const CONNECTIONS_PER_THREAD: usize = 16;

        let cores = || available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = self.threads.unwrap_or_else(cores);
        let useful = NonZeroUsize::new(max_connections / CONNECTIONS_PER_THREAD);
        threads.min(useful.unwrap_or(NonZeroUsize::MIN))
    }

    /// Where to listen.
    pub fn listen(&self) -> Vec<SocketAddr> {
        self.listen.iter().flat_map(Listen::addrs).collect()
    }

    /// Where to listen on behalf of clients.
    pub fn listen_addrs(&self) -> ListenAddrs {
        let mut addrs = ListenAddrs::new();
        for &ip in &self.advertise {
            addrs = addrs.with_advertised(ip).expect("clap has seen to it");
        }
        match &self.ports {
            Some(ports) => addrs.with_ports(ports.clone()),
            None => addrs,
        }
    }

    /// How connections and datagrams leave.
    pub fn egress(&self) -> Egress {
        let mut egress = Egress::new();
        if !self.source.is_empty() {
            let pool = self.source.iter().copied();
            let sources = pool.fold(SourceAddrs::default(), SourceAddrs::with);
            egress = egress.with_sources(match self.source_by {
                SourceBy::Turns => sources,
                SourceBy::Client => sources.by_client(),
                SourceBy::User => sources.by_identity(),
            });
        }
        if let Some(name) = &self.interface {
            egress = egress.with_interface(name.as_str());
        }
        match self.mark {
            Some(mark) => egress.with_mark(mark),
            None => egress,
        }
    }

    pub fn lockout_time(&self) -> Duration {
        Duration::from_secs(self.lockout_time)
    }

    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout)
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout)
    }

    pub fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout)
    }

    pub fn half_closed_timeout(&self) -> Duration {
        Duration::from_secs(self.half_closed_timeout)
    }

    pub fn keepalive(&self) -> Keepalive {
        match self.keepalive {
            0 => Keepalive::Off,
            seconds => Keepalive::After(Duration::from_secs(seconds)),
        }
    }

    pub fn udp_idle_timeout(&self) -> Duration {
        Duration::from_secs(self.udp_idle_timeout)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace)
    }
}

fn parse_ports(ports: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("{text:?} is no port from 1 to 65535")),
    };
    let range = port(low)?..=port(high)?;
    if range.is_empty() {
        return Err("the first port is above the last".to_owned());
    }
    Ok(range)
}
