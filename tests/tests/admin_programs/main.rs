//! The page of `socks-proxy`, in a browser.
//!
//! Ignored unless asked for: `cargo test -p socks-tests -- --ignored`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here fails the test"
)]

mod browser;

use std::net::SocketAddr;

use browser::Browser;
use socks_tests::{
    child::Child,
    client::{assert_echoes, read_to_the_end, socks5},
    origin::{Origin, V4},
    patiently,
};
use tokio::net::{TcpListener, TcpStream};

/// A port that was free a moment ago.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A proxy with a page.
async fn proxy(args: &[&str]) -> (Child, String) {
    let addr = free().await.to_string();
    let child = Child::start(&[&["--allow-private", "--admin", &addr], args].concat()).await;
    (child, format!("http://{addr}/"))
}

async fn echoing(child: &Child, origin: &Origin) -> TcpStream {
    let mut tunnel = socks5(child.addr(), None, origin.addr()).await.unwrap();
    assert_echoes(&mut tunnel, b"a few bytes").await;
    tunnel
}

const ROWS: &str = "return document.querySelectorAll('#sessions tbody tr').length";

fn rows(count: usize) -> String {
    format!("{ROWS} === {count}")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn sessions_appear_move_go_and_are_ended_at_a_click() {
    let origin = Origin::echo(V4).await;
    let (child, page) = proxy(&[]).await;
    let browser = Browser::start().await;
    browser.open(&page).await;
    browser.wait(&rows(0)).await;

    let mut first = echoing(&child, &origin).await;
    let second = echoing(&child, &origin).await;
    browser.wait(&rows(2)).await;
    let text = browser
        .run("return document.querySelector('#sessions tbody').innerText")
        .await;
    let text = text.as_str().unwrap();
    for shown in [
        origin.addr(),
        first.local_addr().unwrap(),
        second.local_addr().unwrap(),
    ] {
        assert!(
            text.contains(&shown.to_string()),
            "{shown} is not in {text}"
        );
    }
    let carried = "return document.querySelector('#sessions tbody tr').cells[4].textContent === ";
    browser.wait(&format!("{carried} '11 B'")).await;
    assert_echoes(&mut first, &[7; 2048 - 11]).await;
    browser.wait(&format!("{carried} '2.0 KiB'")).await;

    drop(second);
    browser.wait(&rows(1)).await;
    browser
        .run("document.querySelector('#sessions button').click()")
        .await;
    assert!(
        patiently("the end", read_to_the_end(&mut first))
            .await
            .is_empty()
    );
    browser.wait(&rows(0)).await;
    let ends = "return document.getElementById('refusals').innerText";
    let why = browser.run(ends).await;
    assert!(!why.as_str().unwrap().contains("panicked"), "{why}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn a_wrong_token_shows_nothing() {
    let origin = Origin::echo(V4).await;
    let (child, page) = proxy(&["--admin-token", "right"]).await;
    let _tunnel = echoing(&child, &origin).await;
    let browser = Browser::start().await;
    browser.open(&page).await;
    let give = |token: &str| {
        format!(
            "document.getElementById('token').value = '{token}';
             document.querySelector('#login button').click()"
        )
    };
    let status =
        |words: &str| format!("return document.getElementById('status').textContent === '{words}'");
    browser.wait(&status("needs the token")).await;
    browser.run(&give("wrong")).await;
    browser.wait(&status("that is not the token")).await;
    assert_eq!(browser.run(ROWS).await, 0);
    assert_eq!(
        browser
            .run("return document.getElementById('shown').hidden")
            .await,
        true
    );
    browser.run(&give("right")).await;
    browser.wait(&rows(1)).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn a_thousand_sessions_stay_usable_on_a_phone_too() {
    let origin = Origin::echo(V4).await;
    let (child, page) = proxy(&[]).await;
    let mut tunnels = Vec::new();
    for _ in 0..1000 {
        tunnels.push(echoing(&child, &origin).await);
    }
    let browser = Browser::start().await;
    browser.open(&page).await;
    browser.wait(&rows(1000)).await;
    // One of them is found, and ended.
    let wanted = tunnels[700].local_addr().unwrap();
    let find = format!(
        "const find = document.getElementById('find');
         find.value = '{wanted}'; find.dispatchEvent(new Event('input'))"
    );
    browser.run(&find).await;
    browser.wait(&rows(1)).await;
    browser
        .run("document.querySelector('#sessions button').click()")
        .await;
    let ended = read_to_the_end(&mut tunnels[700]);
    assert!(patiently("the end", ended).await.is_empty());
    assert_echoes(&mut tunnels[699], b"lives").await;

    let fits = "return document.documentElement.scrollWidth <= window.innerWidth";
    for (width, height) in [(1280, 900), (375, 800)] {
        browser.resize(width, height).await;
        browser.wait(fits).await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn what_clients_choose_is_shown_as_text() {
    const NAME: &str = "<img src=x onerror=document.title=1>";
    let origin = Origin::echo(V4).await;
    let (child, page) = proxy(&["--user", &format!("{NAME}:secret")]).await;
    let login = Some((NAME, "secret"));
    let _tunnel = socks5(child.addr(), login, origin.addr()).await.unwrap();
    let browser = Browser::start().await;
    browser.open(&page).await;
    browser.wait(&rows(1)).await;
    let user = "return document.querySelector('#sessions tbody tr').cells[1].textContent";
    assert_eq!(browser.run(user).await, NAME);
    assert_eq!(browser.run("return document.images.length").await, 0);
    // And the name of the machine.
    let title = browser.run("return document.title").await;
    assert!(
        title.as_str().unwrap().starts_with("socks-proxy "),
        "{title}"
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn a_page_of_another_site_ends_no_session() {
    let origin = Origin::echo(V4).await;
    let (child, page) = proxy(&[]).await;
    let mut tunnel = echoing(&child, &origin).await;
    let browser = Browser::start().await;
    browser.open(&page).await;
    browser.wait(&rows(1)).await;
    let id = browser
        .run("return fetch('api/state').then(it => it.json()).then(it => it.sessions[0].id)")
        .await;
    let end = format!("{page}api/sessions/{}/end", id.as_str().unwrap());
    // The page of another port is another origin.
    let (other, elsewhere) = proxy(&[]).await;
    browser
        .open(&elsewhere.replace("127.0.0.1", "localhost"))
        .await;
    let ways = format!(
        "const ask = (headers, mode) =>
           fetch('{end}', {{ method: 'POST', headers, mode }}).then(() => 'sent', () => 'refused');
         return Promise.all([
           ask({{ 'content-type': 'application/json' }}, 'cors'),
           ask({{ 'content-type': 'text/plain' }}, 'no-cors'),
         ])"
    );
    browser.run(&ways).await;
    // A form goes to where no script may, and shows what comes.
    browser
        .open(&format!(
            "data:text/html,<form method=post action='{end}'><button>x</button></form>"
        ))
        .await;
    browser
        .run("document.querySelector('button').click()")
        .await;
    browser
        .wait("return document.readyState === 'complete'")
        .await;
    assert_echoes(&mut tunnel, b"lives").await;
    drop(other);
    browser.close().await;
}
