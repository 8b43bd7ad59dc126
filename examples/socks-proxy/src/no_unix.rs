//! There are no Unix sockets here.

use std::{io, time::Duration};

use socks_tower::ServeError;

use crate::{config::Config, serve::Serving, shutdown::Shutdown};

pub struct Listeners;

impl Listeners {
    pub fn bind(_: &Config) -> io::Result<Self> {
        Ok(Self)
    }

    pub fn names(&self) -> impl Iterator<Item = String> {
        std::iter::empty()
    }

    pub async fn serve<S>(
        self,
        _: &Serving<S>,
        _: &Shutdown,
        _: Duration,
        _: Duration,
    ) -> Result<(), ServeError> {
        Ok(())
    }
}
