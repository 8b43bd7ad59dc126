//! What HAProxy's `agent-check` asks: whether clients may come.
//!
//! It is told by a weight. The words `drain` and `ready` would do, too, but undo what an
//! operator has set by hand at HAProxy; and a weight between would be rounded to nothing
//! where a server has HAProxy's usual weight of 1.

use std::{error::Error, io, net::TcpListener, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::{config::Config, shutdown::Readiness};

/// Who asks and stays is one of so few.
const MOST_ASKING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(1);

/// Nobody is answered yet.
pub struct Agent(TcpListener);

/// None if the operator wants none.
pub fn bind(config: &Config) -> Result<Option<Agent>, Box<dyn Error>> {
    let Some(addr) = config.agent else {
        return Ok(None);
    };
    let key = config.said.at("agent");
    let listener = TcpListener::bind(addr)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("{key}: cannot listen on {addr}: {error}"))?;
    Ok(Some(Agent(listener)))
}

impl Agent {
    /// Answers, for as long as the runtime lives.
    pub fn spawn(self, readiness: Readiness) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.0)?;
        let places = Arc::new(Semaphore::new(MOST_ASKING));
        tokio::spawn(async move {
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                let Ok((asking, _)) = listener.accept().await else {
                    // Out of descriptors: some come back.
                    tokio::time::sleep(PATIENCE).await;
                    continue;
                };
                let readiness = readiness.clone();
                tokio::spawn(async move {
                    let _ = timeout(PATIENCE, answer(asking, &readiness)).await;
                    drop(place);
                });
            }
        });
        Ok(())
    }
}

async fn answer(mut asking: TcpStream, readiness: &Readiness) -> io::Result<()> {
    let weight: &[u8] = match readiness.is_ready() {
        true => b"up 100%\n",
        false => b"up 0%\n",
    };
    asking.write_all(weight).await?;
    asking.shutdown().await?;
    // Closing with something unread (`agent-send`) would reset the answer.
    while asking.read(&mut [0; 256]).await? > 0 {}
    Ok(())
}
