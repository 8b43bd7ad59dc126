//! What is asked for, and the answers.

use std::time::SystemTime;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::from_fn_with_state,
    response::IntoResponse,
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use socks_tower::{
    Direction, SessionId,
    middleware::{LiveSession, redis::FleetSession},
};

use super::{
    Watch,
    guard::{Guard, guarded},
    totals::Report,
};
use crate::{shared::Link, shutdown::Readiness};

/// Rows of the table of sessions: more than anybody reads.
const MOST_ROWS: usize = 1000;

#[derive(Clone)]
pub struct Shown {
    pub watch: Watch,
    pub metrics: PrometheusHandle,
    pub node: String,
    pub readiness: Readiness,
    pub link: Link,
}

pub fn router(shown: Shown, guard: Guard) -> Router {
    let text =
        |content_type, text| get(move || async move { ([(CONTENT_TYPE, content_type)], text) });
    Router::new()
        .route(
            "/",
            text("text/html; charset=utf-8", include_str!("page.html")),
        )
        .route(
            "/page.css",
            text("text/css; charset=utf-8", include_str!("page.css")),
        )
        .route(
            "/page.js",
            text("text/javascript; charset=utf-8", include_str!("page.js")),
        )
        .route("/api/state", get(state))
        .route("/api/sessions/{id}/end", post(end))
        .route("/metrics", get(metrics))
        // It answers: so the program lives.
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .layer(from_fn_with_state(guard, guarded))
        .with_state(shown)
}

#[derive(Deserialize)]
struct Wanted {
    /// Sessions in which this stands somewhere.
    #[serde(default)]
    find: String,
}

#[derive(Serialize)]
struct PageState {
    node: String,
    ready: bool,
    totals: Report,
    /// None if this node counts alone.
    redis: Option<Shared>,
    upstreams: Vec<Upstream>,
    /// Those found, of which [`MOST_ROWS`] are shown.
    found: usize,
    sessions: Vec<Row>,
}

#[derive(Serialize)]
struct Shared {
    is_up: bool,
    questions: u64,
    unanswered: u64,
    outages: u64,
}

#[derive(Serialize)]
struct Upstream {
    name: String,
    live: usize,
    is_out: bool,
}

#[derive(Serialize)]
struct Row {
    id: String,
    /// Where it is.
    node: String,
    client: String,
    user: String,
    command: String,
    target: String,
    up: u64,
    down: u64,
    /// Since it was entered.
    seconds: u64,
    since: u64,
}

impl Row {
    /// One of any node, as that has said.
    fn of_fleet(node: &str, live: &FleetSession) -> Self {
        let since = live.since.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            id: format!("{}@{node}", live.id),
            // What follows tells this start of it from others.
            node: node
                .rsplit_once('-')
                .map_or(node, |(name, _)| name)
                .to_owned(),
            client: live
                .client_addr
                .map(|it| it.to_string())
                .unwrap_or_default(),
            user: live
                .identity
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            command: live.command.to_string(),
            target: live.target.to_string(),
            up: live.up,
            down: live.down,
            seconds: live.since.elapsed().unwrap_or_default().as_secs(),
            since: since.unwrap_or_default().as_secs(),
        }
    }

    fn of(node: &str, live: &LiveSession) -> Self {
        let session = live.session();
        let since = live.since().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            id: live.id().to_string(),
            node: node.to_owned(),
            client: session
                .client_addr
                .map(|it| it.to_string())
                .unwrap_or_default(),
            user: session
                .identity
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            command: live.command().to_string(),
            target: live.target().to_string(),
            up: live.bytes(Direction::Up),
            down: live.bytes(Direction::Down),
            seconds: live.age().as_secs(),
            since: since.unwrap_or_default().as_secs(),
        }
    }

    fn has(&self, text: &str) -> bool {
        let columns = [
            &self.id,
            &self.node,
            &self.client,
            &self.user,
            &self.command,
            &self.target,
        ];
        columns
            .iter()
            .any(|column| column.to_lowercase().contains(text))
    }
}

async fn state(State(shown): State<Shown>, Query(wanted): Query<Wanted>) -> Json<PageState> {
    let Shown {
        watch,
        node,
        readiness,
        link,
        ..
    } = shown.clone();
    let find = wanted.find.to_lowercase();
    let (all, rows) = rows(&shown, &node).await;
    let (found, sessions) = if find.is_empty() {
        (all, rows.into_iter().take(MOST_ROWS).collect())
    } else {
        let mut found: Vec<_> = rows.into_iter().filter(|row| row.has(&find)).collect();
        let all = found.len();
        found.truncate(MOST_ROWS);
        (all, found)
    };
    let upstreams = watch.upstreams().into_iter().map(|it| Upstream {
        name: it.name.to_string(),
        live: it.live,
        is_out: it.is_out,
    });
    let redis = link.redis().map(|redis| {
        let numbers = redis.numbers();
        Shared {
            is_up: numbers.is_up,
            questions: numbers.questions,
            unanswered: numbers.unanswered,
            outages: numbers.outages,
        }
    });
    Json(PageState {
        redis,
        node,
        ready: readiness.is_ready(),
        totals: watch.totals.report(),
        upstreams: upstreams.collect(),
        found,
        sessions,
    })
}

/// How many sessions there are, and of each node the oldest: of this one alone, if it counts
/// alone or Redis does not answer.
async fn rows(shown: &Shown, node: &str) -> (usize, Vec<Row>) {
    let fleet = match shown.link.sessions() {
        Some(fleet) => fleet.list().await.ok(),
        None => None,
    };
    let Some(nodes) = fleet else {
        let live = shown.watch.sessions.list();
        let rows = live.iter().map(|live| Row::of(node, live)).collect();
        return (live.len(), rows);
    };
    let all = nodes.iter().map(|it| it.total).sum();
    let mut rows = Vec::new();
    for it in &nodes {
        rows.extend(it.sessions.iter().map(|live| Row::of_fleet(&it.node, live)));
    }
    rows.sort_by_key(|row| row.since);
    (all, rows)
}

/// It is at another node, maybe.
async fn end_of_fleet(shown: &Shown, id: &str) -> bool {
    let (Some(fleet), Some((id, node))) = (shown.link.sessions(), id.split_once('@')) else {
        return false;
    };
    match id.parse().map(SessionId::new) {
        Ok(id) => fleet.end(node, id).await.unwrap_or_default(),
        Err(_) => false,
    }
}

async fn end(State(shown): State<Shown>, Path(id): Path<String>) -> StatusCode {
    match id.parse().map(SessionId::new) {
        Ok(id) if shown.watch.sessions.end(id) => StatusCode::NO_CONTENT,
        Err(_) if end_of_fleet(&shown, &id).await => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    }
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    let form = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, form)], shown.metrics.render())
}

/// It goes down before the first client is refused: a load balancer looks here.
async fn ready(State(shown): State<Shown>) -> (StatusCode, &'static str) {
    if shown.readiness.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
    }
}
