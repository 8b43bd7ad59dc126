//! Serves the page such that nobody keeps its operator out.

use std::{collections::VecDeque, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::AbortHandle, time::sleep};

/// How many connections there are at most: a newcomer takes the place of the oldest.
const MOST: usize = 32;

/// How long a request's head may take to come, from when the one before it was answered.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Serves for as long as the runtime lives.
pub async fn serve(listener: TcpListener, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let mut served = VecDeque::<AbortHandle>::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // There are no descriptors left: perhaps there are in a second.
            sleep(Duration::from_secs(1)).await;
            continue;
        };
        served.retain(|one| !one.is_finished());
        if served.len() >= MOST
            && let Some(oldest) = served.pop_front()
        {
            oldest.abort();
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let serving = tokio::spawn(async {
            // Whoever breaks it knows.
            let _ = connection.await;
        });
        served.push_back(serving.abort_handle());
    }
}
