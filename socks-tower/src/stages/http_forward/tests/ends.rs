//! Connections that are kept no longer.

use tokio::sync::watch;

use super::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n";

fn world() -> (World, watch::Sender<bool>) {
    let (end, ended) = watch::channel(false);
    let world = World::new(open().with_end(move || {
        let mut ended = ended.clone();
        async move {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }));
    (world, end)
}

async fn served(world: &mut World) {
    world.say(GET).await;
    let (_, mut origin) = world.origin().await;
    head(&mut origin).await;
    origin.write_all(ANSWER.as_bytes()).await.unwrap();
    assert_eq!(until(&mut world.client, "ok").await, ANSWER);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_ends_at_once() {
    let (mut world, end) = world();
    served(&mut world).await;
    let began = tokio::time::Instant::now();
    end.send(true).unwrap();
    assert_eq!(world.rest().await, "");
    assert!(began.elapsed() < Duration::from_secs(1), "it was idle");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_served_has_its_answer_and_no_other() {
    let (mut world, end) = world();
    served(&mut world).await;
    world.say(GET.repeat(2)).await;
    let (_, mut origin) = world.origin().await;
    head(&mut origin).await;
    end.send(true).unwrap();
    // It is heard of.
    tokio::time::sleep(Duration::from_secs(1)).await;
    origin.write_all(ANSWER.as_bytes()).await.unwrap();
    let heard = world.rest().await.to_lowercase();
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    assert!(heard.ends_with("\r\nok"), "{heard}");
    assert!(world.is_alone());
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_not_served() {
    let (mut world, end) = world();
    served(&mut world).await;
    end.send(true).unwrap();
    world.say(GET).await;
    assert_eq!(world.rest().await, "");
    assert!(world.is_alone());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_has_begun_is_served_and_the_first_too() {
    let (mut world, end) = world();
    let (first, rest) = GET.split_at(9);
    world.say(first).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    end.send(true).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.say(rest).await;
    let (_, mut origin) = world.origin().await;
    head(&mut origin).await;
    origin.write_all(ANSWER.as_bytes()).await.unwrap();
    let heard = world.rest().await.to_lowercase();
    assert!(heard.contains("connection: close\r\n"), "{heard}");
}
