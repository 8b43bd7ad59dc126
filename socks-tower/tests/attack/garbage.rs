//! Sessions of chance.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    client::{ask, connect, patiently, reset, to_the_end},
    process::Process,
};

const SESSIONS: u64 = 1500;
/// At a time.
const CROWD: usize = 150;

/// Right so far: so that chance gets further than the first byte.
const BEGINNINGS: [&[u8]; 10] = [
    b"",
    b"\x05",
    b"\x05\x01\x00",
    b"\x05\x02\x00\x02\x05\x01\x00",
    b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01",
    b"\x05\x01\x00\x05\x01\x00\x03",
    b"\x05\x01\x02\x01",
    b"\x05\x01\x02\x01\x03joe\x06secret\x05\x01\x00\x04",
    b"\x04\x01",
    b"\x04\x01\x00\x50\x00\x00\x00\x01joe\0",
];

/// The same numbers for the same seed.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let high = usize::try_from(self.0 >> 33).unwrap();
        high % bound
    }

    fn byte(&mut self) -> u8 {
        // Small numbers mean more than others, in versions, codes and lengths.
        let bound = [8, 256][self.below(2)];
        u8::try_from(self.below(bound)).unwrap()
    }

    /// A beginning, perhaps with a byte changed, and what comes then.
    fn words(&mut self) -> Vec<u8> {
        let mut words = BEGINNINGS[self.below(BEGINNINGS.len())].to_vec();
        if !words.is_empty() && self.below(4) == 0 {
            let at = self.below(words.len());
            words[at] = self.byte();
        }
        let more = [0, 3, 40, 700, 40_000][self.below(5)];
        let more = self.below(more + 1);
        words.extend((0..more).map(|_| self.byte()));
        words
    }
}

/// Whether a tunnel stands.
fn is_granted(heard: &[u8]) -> bool {
    heard.starts_with(b"\x00\x5a") || heard.windows(4).any(|window| window == b"\x05\x00\x00\x01")
}

/// Listens until the proxy closes; ends a tunnel itself.
async fn hear_out(client: TcpStream, mut heard: Vec<u8>) {
    let (mut from, mut to) = client.into_split();
    loop {
        if is_granted(&heard) {
            // It may just have been reset.
            let _ = to.shutdown().await;
        }
        match patiently("the end", from.read_buf(&mut heard)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn session(proxy: SocketAddr, seed: u64) {
    let mut chance = Chance::new(seed);
    let words = chance.words();
    let mut client = connect(proxy).await;
    client.set_nodelay(true).unwrap();
    let mut heard = Vec::new();
    let mut rest = words.as_slice();
    while !rest.is_empty() {
        let most = [1, 20, 40_000][chance.below(3)].min(rest.len());
        let (chunk, after) = rest.split_at(1 + chance.below(most));
        rest = after;
        // A tunnel that nobody reads from stalls, so read beside. What is heard
        // cuts the chunk short.
        let (mut from, mut to) = client.split();
        tokio::select! {
            written = to.write_all(chunk) => if written.is_err() { return },
            read = from.read_buf(&mut heard) => if read.is_err() { return },
        }
    }
    match chance.below(4) {
        0 => reset(client),
        1 => drop(client),
        2 => {
            // It may just have been reset.
            let _ = client.shutdown().await;
            to_the_end(&mut client).await;
        }
        _ => hear_out(client, heard).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_never_panics_never_hangs_and_leaves_nothing() {
    let proxy = Process::start("inward", CROWD).await;
    let addr = proxy.addr;
    let (held, _) = ask(addr, "127.0.0.1:2".parse().unwrap()).await;
    let at_rest = proxy.descriptors() - 1;
    drop(held);
    let mut sessions = JoinSet::new();
    for seed in 0..SESSIONS {
        if sessions.len() == CROWD {
            sessions.join_next().await.unwrap().unwrap();
        }
        sessions.spawn(async move { patiently("a session", session(addr, seed)).await });
    }
    sessions.join_all().await;
    proxy.settle(at_rest).await;
    proxy.finish();
}
