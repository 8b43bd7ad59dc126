use std::sync::OnceLock;

use redis::{Cmd, cmd};

/// A script that Redis runs, whole or not at all.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    hash: OnceLock<String>,
}

impl Script {
    pub(crate) const fn new(text: &'static str) -> Self {
        let hash = OnceLock::new();
        Self { text, hash }
    }

    /// Calls it with so many keys, which are the arguments to add first.
    pub(crate) fn call(&self, keys: usize) -> Cmd {
        let hash = self
            .hash
            .get_or_init(|| redis::Script::new(self.text).get_hash().to_owned());
        /// Room for the key and for what is said of it.
        const OF_KEY: [usize; 2] = [7, 112];
        let [args, bytes] = OF_KEY.map(|each| each * keys);
        let mut call = Cmd::with_capacity(5 + args, 96 + bytes);
        call.arg("EVALSHA").arg(hash).arg(keys);
        call
    }

    /// Makes it known, to calls that follow.
    pub(crate) fn load(&self) -> Cmd {
        let mut load = cmd("SCRIPT");
        load.arg("LOAD").arg(self.text);
        load
    }
}
