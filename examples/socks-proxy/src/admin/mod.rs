//! A page to look at, with what programs ask for beside it: metrics, health, readiness.

mod guard;
mod serve;
mod totals;
mod web;

use std::{
    error::Error,
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use socks_tower::{
    middleware::{MetricsLayer, ObserveLayer, RegisterLayer, Sessions},
    works::pool::UpstreamStatus,
};
use tokio::time::interval;

use self::{guard::Guard, totals::Totals};
use crate::{config::Config, lock, node, shared::Link, shutdown::Readiness};

/// What is known of the proxy, by its stacks, for the page.
#[derive(Clone)]
pub struct Watch {
    sessions: Sessions,
    totals: Arc<Totals>,
    metrics: MetricsLayer,
    pool: Arc<Mutex<Pool>>,
}

type Pool = Box<dyn Fn() -> Vec<UpstreamStatus> + Send>;

impl Watch {
    /// What stands outermost.
    pub fn observe(&self) -> (MetricsLayer, ObserveLayer) {
        let totals = ObserveLayer::new(Arc::clone(&self.totals));
        (self.metrics.clone(), totals)
    }

    /// All that live.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What stands where it is known what a client wants.
    pub fn register(&self) -> RegisterLayer {
        RegisterLayer::new(self.sessions.clone())
    }

    /// Has the page show these upstreams, in the place of those before.
    pub fn show(&self, pool: impl Fn() -> Vec<UpstreamStatus> + Send + 'static) {
        let old = {
            let mut shown = lock(&self.pool);
            std::mem::replace(&mut *shown, Box::new(pool))
        };
        drop(old);
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        lock(&self.pool)()
    }
}

/// The page, which nobody is shown yet.
pub struct Admin {
    listener: TcpListener,
    guard: Guard,
    metrics: PrometheusHandle,
    /// What it is called.
    node: String,
    pub watch: Watch,
}

/// None if the operator wants none.
pub fn bind(config: &Config) -> Result<Option<Admin>, Box<dyn Error>> {
    let Some(addr) = config.admin else {
        return Ok(None);
    };
    let key = config.said.at("admin");
    let listener = TcpListener::bind(addr)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("{key}: cannot listen on {addr}: {error}"))?;
    let metrics = PrometheusBuilder::new();
    let metrics = match node::said(config) {
        Some(name) => metrics.add_global_label("node", name),
        None => metrics,
    };
    let metrics = metrics.install_recorder()?;
    Ok(Some(Admin {
        listener,
        guard: Guard::new(config)?,
        metrics,
        node: node::name(config),
        watch: Watch {
            sessions: Sessions::new(),
            totals: Arc::default(),
            // For the recorder that there is now.
            metrics: MetricsLayer::new(),
            pool: Arc::new(Mutex::new(Box::new(Vec::new))),
        },
    }))
}

/// A page for all to reach is for those alone who have the token.
pub fn check(config: &Config) -> Result<(), String> {
    match config.admin {
        Some(addr) if !addr.ip().is_loopback() && config.admin_token.is_none() => {
            let key = config.said.at("admin");
            Err(format!(
                "{key}: {addr} is not a loopback address, and whoever reaches it could end \
                 sessions: add --admin-token"
            ))
        }
        _ => Guard::new(config).map(|_guard| ()),
    }
}

impl Admin {
    /// Shows it, for as long as the runtime lives.
    pub fn spawn(self, readiness: Readiness, link: Link) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (watch, metrics) = (self.watch.clone(), self.metrics.clone());
        let shown = web::Shown {
            watch: self.watch,
            metrics: self.metrics,
            node: self.node,
            readiness,
            link,
        };
        let router = web::router(shown, self.guard);
        tokio::spawn(serve::serve(listener, router));
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1));
            // The first is now.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                watch.totals.tick();
                metrics.run_upkeep();
            }
        });
        Ok(())
    }
}
