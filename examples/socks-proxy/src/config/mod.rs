//! What the operator wants: every key, said in a file or by a flag of the same name.
//!
//! A key is a field of [`Config`]: its comment is the flag's help, [`Config::default`]
//! has its default. Nothing else needs to know it, but whoever uses it.

mod cli;
#[cfg(test)]
mod example;
mod file;
mod said;
mod values;

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

pub use cli::{Cli, Instead, NewUser};
pub use said::Said;
pub use values::{Login, Mark, Net, Ports, RedisUrl, Seconds, Text, Token, WayOut};

use crate::{
    listen::Listen,
    names::Dns,
    node::NodeName,
    policy::{Limit, NamedGroup, Rule},
};

const LISTENING: &str = "Where it listens";
const CLIENTS: &str = "Who may come";
const TARGETS: &str = "What may be reached";
const WAYS_OUT: &str = "How it is reached";
const COMMANDS: &str = "What is served besides CONNECT";
const NAMES: &str = "Names";
const TIMES: &str = "Times";
const LIMITS: &str = "Limits";
const SHARED: &str = "What several nodes share";
const RUNNING: &str = "Running";

#[derive(Args, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Address to listen on, or a name for all of its addresses; may be given again.
    /// `[::]` is all of IPv6 alone, `0.0.0.0` all of IPv4; `unix:PATH` is a Unix socket,
    /// `systemd` what a socket unit has opened, `systemd:NAME` those of its sockets that are
    /// called so. With `tls://` in front, clients speak TLS there
    #[arg(long, value_name = "ADDR:PORT", help_heading = LISTENING)]
    pub listen: Vec<Text<Listen>>,

    /// Listen off loopback even without users: anybody can use the proxy
    #[arg(long, help_heading = LISTENING)]
    pub open: bool,

    /// Let clients of this network in without a password; may be given again
    #[arg(long, value_name = "CIDR", help_heading = CLIENTS)]
    pub open_to: Vec<Text<Net>>,

    /// Certificate for `tls://` listeners, with its chain (PEM). A reload reads it again
    #[arg(long, value_name = "FILE", help_heading = LISTENING)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", help_heading = LISTENING)]
    pub tls_key: Option<PathBuf>,

    /// Have TLS clients show a certificate of these authorities (PEM): its common name is
    /// the user's, and no password is asked for
    #[arg(long, value_name = "FILE", help_heading = LISTENING)]
    pub tls_client_ca: Option<PathBuf>,

    /// Do not serve HTTP, which has the same port and users as SOCKS: neither CONNECT nor
    /// requests for `http://` URLs
    #[arg(long, help_heading = LISTENING)]
    pub no_http: bool,

    /// Believe the PROXY headers of this load balancer, whose connections must begin
    /// with one; may be given again
    #[arg(long, value_name = "CIDR", help_heading = LISTENING)]
    pub proxy_protocol: Vec<Text<Net>>,

    /// Let in this user (others on this machine can see arguments: prefer --users); may
    /// be given again. `env:NAME` stands for what an environment variable holds, and
    /// `file:PATH` for what a file does. With users, SOCKS4 is refused
    #[arg(long, value_name = "NAME:PASSWORD", help_heading = CLIENTS)]
    pub user: Vec<Login>,

    /// Let in the users of a file, one a line: NAME:HASH, as `socks-proxy hash` and
    /// `htpasswd -B` make it, or NAME:PASSWORD; # begins a comment
    #[arg(long, value_name = "FILE", help_heading = CLIENTS)]
    pub users: Option<PathBuf>,

    /// Lock a client out, an IPv4 address or an IPv6 /64, once it has given so many wrong
    /// passwords, by SOCKS or HTTP CONNECT: it is refused then, even with the right one;
    /// needs users [default: never]
    #[arg(long, value_name = "N", help_heading = CLIENTS)]
    pub lockout_after: Option<NonZeroU32>,

    /// Time that a client is locked out for: twice as long with each further wrong
    /// password, but no longer than an hour, or this if it is more
    #[arg(long, value_name = "SECONDS", help_heading = CLIENTS)]
    pub lockout_time: Seconds,

    /// Let clients reach loopback, private and other special-purpose addresses
    #[arg(long, help_heading = TARGETS)]
    pub allow_private: bool,

    /// Let clients reach special-purpose addresses in this network alone; may be given
    /// again
    #[arg(long, value_name = "CIDR", help_heading = TARGETS)]
    pub allow: Vec<Text<Net>>,

    /// A rule, `allow` or `deny` and to what it applies: `deny user=joe to=10.0.0.0/8`. The
    /// first that matches counts, and what none matches is allowed; may be given again.
    /// Its keys, of which all that are given must hold: user=, anonymous, client=NETWORK,
    /// to=NETWORK, HOST or *.DOMAIN, port=, command= (connect, bind, udp, resolve,
    /// resolve-ptr), during="mon-fri 08:00-17:30 +01:00"; each may have several values,
    /// with commas. In client= and to=, @NAME is a --group
    #[arg(long, value_name = "RULE", help_heading = TARGETS)]
    pub rule: Vec<Text<Rule>>,

    /// Networks, addresses, hosts and *.domains under one name, for rules and limits; what
    /// begins with / or ./ is a file of such, one a line. May be given again
    #[arg(long, value_name = "NAME=ENTRY,ENTRY", help_heading = TARGETS)]
    pub group: Vec<Text<NamedGroup>>,

    /// Reach all targets through this proxy: socks5h, socks5, socks4a, socks4, http or https
    /// `://[NAME:PASSWORD@]HOST[:PORT]` (others on this machine can see arguments). Given
    /// again, they are a pool: each connection takes one, and another if that fails. UDP
    /// and BIND go through those that can
    #[arg(long, value_name = "URL", help_heading = WAYS_OUT)]
    pub upstream: Vec<WayOut>,

    /// Reach targets in a domain or a network directly, through a proxy or not at all;
    /// may be given again, and the first that matches counts. What none matches goes
    /// through --upstream, or directly. CONNECT alone is served then
    #[arg(long, value_name = "SUFFIX|CIDR=URL|direct|deny", help_heading = WAYS_OUT)]
    pub route: Vec<WayOut>,

    /// Address that connections and datagrams leave from, or a network for one of its
    /// addresses; may be given again: a pool. Targets of a family that has none are not
    /// reached
    #[arg(long, value_name = "ADDR", help_heading = WAYS_OUT)]
    pub source: Vec<Text<Net>>,

    /// What chooses among several of --source, or in a network
    #[arg(long, value_name = "WHAT", value_enum, help_heading = WAYS_OUT)]
    pub source_by: SourceBy,

    /// Interface that connections and datagrams leave by, whatever the routes say (Linux)
    #[arg(long, value_name = "NAME", help_heading = WAYS_OUT)]
    pub interface: Option<String>,

    /// Mark of connections and datagrams, for routes and packet filters: a number, or 0x
    /// and a hexadecimal one (Linux; needs CAP_NET_ADMIN)
    #[arg(long, value_name = "N", help_heading = WAYS_OUT)]
    pub mark: Option<Text<Mark>>,

    /// Do not serve UDP ASSOCIATE
    #[arg(long, help_heading = COMMANDS)]
    pub no_udp: bool,

    /// Let anybody answer to where a client's datagrams came from, and not those alone that
    /// it sent some to (full-cone NAT): for games and peers that find each other
    #[arg(long, help_heading = COMMANDS)]
    pub udp_full_cone: bool,

    /// Serve BIND, too: listen for a peer that the client expects
    #[arg(long, help_heading = COMMANDS)]
    pub bind: bool,

    /// Serve Tor's RESOLVE and RESOLVE_PTR, too: look names and addresses up
    #[arg(long, help_heading = COMMANDS)]
    pub resolve_commands: bool,

    /// Address by which peers (BIND) and clients' datagrams reach this machine from behind
    /// its NAT; may be given once for IPv4 and once for IPv6
    #[arg(long, value_name = "ADDR", help_heading = COMMANDS)]
    pub advertise: Vec<IpAddr>,

    /// Ports to listen on for peers and clients' datagrams [default: any]
    #[arg(long, value_name = "LOW-HIGH", help_heading = COMMANDS)]
    pub ports: Option<Text<Ports>>,

    /// Most destinations of a UDP association at once, which alone may answer; one more
    /// takes the place of that which has been idle for longest
    #[arg(long, value_name = "N", help_heading = COMMANDS)]
    pub udp_max_peers: NonZeroUsize,

    /// Bytes that the system holds for each socket of a UDP association while the proxy is
    /// busy; more than net.core.rmem_max it does not grant
    #[arg(long, value_name = "BYTES", help_heading = COMMANDS)]
    pub udp_receive_buffer: NonZeroUsize,

    /// Ask this DNS server, and not the system: an address, with a port or without,
    /// `tls://ADDRESS#NAME`, `https://ADDRESS/PATH#NAME` (NAME is its certificate's), or
    /// `system` for those that the system is configured with; may be given again. They
    /// are asked one after the other [default: the system looks names up]
    #[arg(long, value_name = "SERVER", help_heading = NAMES)]
    pub dns: Vec<Text<Dns>>,

    /// Which addresses of a name to use, or to try first [default: the system's order]
    #[arg(long, value_name = "FAMILY", value_enum, help_heading = NAMES)]
    pub family: Option<AddressFamily>,

    /// Time from accept to the request
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub handshake_timeout: Seconds,

    /// Time from the request to the connection
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub connect_timeout: Seconds,

    /// Silence after which a tunnel ends
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub idle_timeout: Seconds,

    /// Silence after which a tunnel ends of which one side is done sending, if
    /// --idle-timeout is not shorter: many clients close without waiting for an answer
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub half_closed_timeout: Seconds,

    /// Silence after which the system asks a client, a target or a peer if it is still
    /// there; 0 for never
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub keepalive: Seconds,

    /// Silence after which a UDP association ends, though its connection stands
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub udp_idle_timeout: Seconds,

    /// Time between being told to end and taking no more clients: a load balancer looks
    /// meanwhile, finds the proxy unready, and sends clients elsewhere
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub unready_time: Seconds,

    /// Time that tunnels have to end once the proxy is told to. Whoever stops it must wait
    /// for longer before it kills it: `docker stop` waits for 10
    #[arg(long, value_name = "SECONDS", help_heading = TIMES)]
    pub grace: Seconds,

    /// Most connections at once; more wait in the system's queue [default: what the limit
    /// of descriptors permits]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_connections: Option<NonZeroUsize>,

    /// Most connections at once of one client, an IPv4 address or an IPv6 /64; one more is
    /// hung up on [default: no limit]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_connections_per_client: Option<NonZeroUsize>,

    /// A limit, and for whom: `user=joe bandwidth=1MB`; may be given again, and all that
    /// match hold. For whom: user=, client=NETWORK or @GROUP; all, if neither is said. Who
    /// shares it: per=user, client, tunnel or all [per=user with user=, else per=client].
    /// What: connections=N at once; new=N/second, minute or hour; bandwidth= bytes a second
    /// each way, or up= and down=; quota=10GB/day, week or month. With --redis nodes count
    /// together, but for bandwidth, and but for a limit that says per-node
    #[arg(long, value_name = "LIMIT", help_heading = LIMITS)]
    pub limit: Vec<Text<Limit>>,

    /// Count limits, quotas and wrong passwords together with all nodes on this Redis, and list
    /// their sessions: redis, or rediss for TLS, `://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`,
    /// or `unix:///PATH`. `env:NAME` or `file:PATH` is where it stands (others on this machine
    /// can see arguments)
    #[arg(long, value_name = "URL", help_heading = SHARED)]
    pub redis: Option<RedisUrl>,

    /// What begins the keys in Redis. Nodes that say the same count together
    #[arg(long, value_name = "PREFIX", help_heading = SHARED)]
    pub redis_prefix: String,

    /// Longest time that a client waits for Redis
    #[arg(long, value_name = "MILLISECONDS", help_heading = SHARED)]
    pub redis_deadline: NonZeroU32,

    /// What happens while Redis does not answer in time
    #[arg(long, value_name = "WHAT", value_enum, help_heading = SHARED)]
    pub redis_when_gone: WhenGone,

    /// Time after which the connections of a node that has died count no more
    #[arg(long, value_name = "SECONDS", help_heading = SHARED)]
    pub redis_lease: Seconds,

    /// Name of this proxy among others, on its page; said, it is in each line of the log and on
    /// each metric [default: the machine's name]
    #[arg(long, value_name = "NAME", help_heading = RUNNING)]
    pub node: Option<Text<NodeName>>,

    /// Threads that serve [default: one per core]
    #[arg(long, value_name = "N", help_heading = RUNNING)]
    pub threads: Option<NonZeroUsize>,

    /// Whether threads share sessions, or each keeps those that it accepted
    #[arg(long, value_enum, help_heading = RUNNING)]
    pub runtime: Runtime,

    /// Show a page about what happens here at this address: live sessions, rates, refusals;
    /// beside it `/metrics` for Prometheus, `/healthz` and `/readyz`. It is for a loopback
    /// address; elsewhere it needs --admin-token
    #[arg(long, value_name = "ADDR:PORT", help_heading = RUNNING)]
    pub admin: Option<SocketAddr>,

    /// Who has this token sees the page, and nobody else: `Authorization: Bearer TOKEN`.
    /// `env:NAME` or `file:PATH` is where it stands (others on this machine can see
    /// arguments)
    #[arg(long, value_name = "TOKEN", help_heading = RUNNING)]
    pub admin_token: Option<Token>,

    /// Say at this address whether clients may come, as HAProxy's agent-check asks: `up 100%`,
    /// and `up 0%` once told to end. Whoever reaches it can ask
    #[arg(long, value_name = "ADDR:PORT", help_heading = RUNNING)]
    pub agent: Option<SocketAddr>,

    /// What to log: a level, or a filter; `warn,socks::access=info` adds the access log,
    /// an event for each session, to the warnings [default: RUST_LOG, else warn]
    #[arg(long, value_name = "FILTER", help_heading = RUNNING)]
    pub log: Option<String>,

    /// Write the log to this file, and not to standard error. SIGUSR1 opens it again, once
    /// it has been moved away
    #[arg(long, value_name = "FILE", help_heading = RUNNING)]
    pub log_file: Option<PathBuf>,

    /// Form of the log: lines for people, or an object of JSON on each line
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = RUNNING)]
    pub log_format: LogFormat,

    /// Where each was said.
    #[arg(skip)]
    #[serde(skip)]
    pub said: Said,
}

impl Config {
    /// Whether clients are asked for passwords.
    pub fn has_users(&self) -> bool {
        !self.user.is_empty() || self.users.is_some()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::from(["127.0.0.1:1080".parse().expect("it is an address")]),
            open: false,
            open_to: Vec::new(),
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            no_http: false,
            proxy_protocol: Vec::new(),
            user: Vec::new(),
            users: None,
            lockout_after: None,
            lockout_time: Seconds(60),
            allow_private: false,
            allow: Vec::new(),
            rule: Vec::new(),
            group: Vec::new(),
            upstream: Vec::new(),
            route: Vec::new(),
            source: Vec::new(),
            source_by: SourceBy::default(),
            interface: None,
            mark: None,
            no_udp: false,
            udp_full_cone: false,
            bind: false,
            resolve_commands: false,
            advertise: Vec::new(),
            ports: None,
            udp_max_peers: NonZeroUsize::new(1024).expect("it is not 0"),
            udp_receive_buffer: NonZeroUsize::new(1024 * 1024).expect("it is not 0"),
            dns: Vec::new(),
            family: None,
            handshake_timeout: Seconds(10),
            connect_timeout: Seconds(10),
            idle_timeout: Seconds(7440),
            half_closed_timeout: Seconds(300),
            keepalive: Seconds(60),
            udp_idle_timeout: Seconds(300),
            unready_time: Seconds(0),
            grace: Seconds(8),
            max_connections: None,
            max_connections_per_client: None,
            limit: Vec::new(),
            redis: None,
            redis_prefix: "socks".to_owned(),
            redis_deadline: NonZeroU32::new(100).expect("it is not 0"),
            redis_when_gone: WhenGone::default(),
            redis_lease: Seconds(15),
            node: None,
            threads: None,
            runtime: Runtime::default(),
            admin: None,
            admin_token: None,
            agent: None,
            log: None,
            log_file: None,
            log_format: LogFormat::default(),
            said: Said::default(),
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Each thread keeps its sessions, but for bulk, which as many more carry: fewest
    /// system calls. On Linux; elsewhere that is one thread
    #[cfg_attr(target_os = "linux", default)]
    PerThread,
    /// Sessions move to where there is time for them
    #[cfg_attr(not(target_os = "linux"), default)]
    Shared,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceBy {
    /// They take turns; of a network it is any
    #[default]
    Turns,
    /// A client, an IPv4 address or an IPv6 /64, keeps to one
    Client,
    /// A user keeps to one; without users a client does
    User,
    /// The address that the client came to, without --source; targets of the other family
    /// are not reached
    Incoming,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenGone {
    /// This node counts alone: a limit holds for each node, and not for all together
    #[default]
    CountAlone,
    /// Clients that a limit is about are refused
    Refuse,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressFamily {
    Ipv4,
    Ipv6,
    PreferIpv4,
    PreferIpv6,
}
