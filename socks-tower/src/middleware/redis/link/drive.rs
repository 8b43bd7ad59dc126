//! The task that keeps the connection.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use redis::{PushInfo, PushKind, Value, cmd};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Member, Unanswered,
    connect::connect,
    handle::Link,
    health::{Connection, Health, State},
    line::Line,
};

/// How long a connection may take, with all that its start wants.
const CONNECT: Duration = Duration::from_secs(5);
/// The first pause before another try, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How often a connection must prove itself, and how long that may take.
const PROOF_EVERY: Duration = Duration::from_secs(5);
const PROOF: Duration = Duration::from_secs(1);

/// Connects, and again when that is lost, for as long as there is a link.
pub(super) async fn drive(link: Weak<Link>, health: Arc<Health>) {
    let [first, longest] = PAUSES;
    let mut pause = first;
    let mut states = health.watch();
    loop {
        let closed = states.wait_for(|state| matches!(state, State::Closed));
        let why = tokio::select! {
            why = run(&link, &health) => why,
            _ = closed => return,
        };
        pause = match health.gone(&why) {
            true => first,
            false => (2 * pause).min(longest),
        };
        sleep(pause).await;
    }
}

/// One connection, to its end.
async fn run(link: &Weak<Link>, health: &Arc<Health>) -> Unanswered {
    let Some(strong) = link.upgrade() else {
        return Unanswered::Gone;
    };
    let (place, proof) = (strong.options.place.clone(), strong.proof());
    drop(strong);
    let hearing = link.clone();
    let heard = move |info| heard(&hearing, info);
    let connected = timeout(CONNECT, connect(&place, heard)).await;
    let (inner, carrying) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(why)) => return why,
        Err(_) => return Unanswered::Late(CONNECT),
    };
    let line = Line {
        connection: Connection::new(inner),
        health: Arc::clone(health),
        deadline: PROOF,
    };
    tokio::select! {
        () = carrying => Unanswered::Lost("the connection was closed".to_owned()),
        why = serve(link, line, &proof) => why,
    }
}

/// Proves that Redis works, tells the members, and proves it again when in doubt.
async fn serve(link: &Weak<Link>, line: Line, proof: &redis::Cmd) -> Unanswered {
    let mut at_work = JoinSet::new();
    let mut states = line.health.watch();
    loop {
        if let Err(why) = line.ask::<()>(proof).await {
            return why;
        }
        let Some(strong) = link.upgrade() else {
            return Unanswered::Gone;
        };
        let newcomers = strong.newcomers(line.connection.id);
        let deadline = strong.options.deadline;
        drop(strong);
        for (member, channels) in newcomers {
            let welcome = welcome(&line, Arc::clone(&member), channels);
            match timeout(CONNECT, welcome).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return why,
                Err(_) => return Unanswered::Late(CONNECT),
            }
            at_work.spawn(member.serve(line.clone().within(deadline)));
        }
        line.health.up(line.connection.clone());
        let doubted = states.wait_for(|state| !matches!(state, State::Up(_)));
        tokio::select! {
            _ = doubted => {}
            () = line.health.joined.notified() => {}
            () = sleep(PROOF_EVERY) => {}
        }
        while at_work.try_join_next().is_some() {}
    }
}

/// It hears what is published from now on, and then reads what was before.
async fn welcome(
    line: &Line,
    member: Arc<dyn Member>,
    channels: Vec<String>,
) -> Result<(), Unanswered> {
    let mut inner = line.connection.inner.clone();
    for channel in channels {
        inner.subscribe(channel).await?;
    }
    member.back(line.clone()).await
}

fn heard(link: &Weak<Link>, info: PushInfo) {
    let (PushKind::Message, [channel, payload]) = (info.kind, info.data.as_slice()) else {
        return;
    };
    let (Value::BulkString(channel), Value::BulkString(payload)) = (channel, payload) else {
        return;
    };
    if let (Some(link), Ok(channel)) = (link.upgrade(), str::from_utf8(channel)) {
        link.heard(channel, payload);
    }
}

/// Writes, as a server that takes no writes does no work; and says which nodes there are.
pub(super) fn proof(key: &str, node: &str) -> redis::Cmd {
    let mut proof = cmd("SET");
    proof
        .arg(key)
        .arg(node)
        .arg("EX")
        .arg(3 * PROOF_EVERY.as_secs());
    proof
}
