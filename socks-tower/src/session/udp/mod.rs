//! Datagrams, as the stage of UDP ASSOCIATE and the client of one need them: sockets,
//! many datagrams by one system call, and the header that SOCKS5 puts before each.

pub(crate) mod batch;
pub(crate) mod header;
mod socket;

pub(crate) use socket::Socket;
