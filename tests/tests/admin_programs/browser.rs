//! A real browser, led by chromedriver (WebDriver, W3C).

use std::{io::Read, process::Stdio, time::Duration};

use serde_json::{Value, json};
use socks_tests::{PATIENCE, patiently};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// A browser without a window, at a page or none. It ends when it is dropped.
pub(crate) struct Browser {
    session: String,
    _driver: Child,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut driver = driver.unwrap_or_else(|_| panic!("apt-get install chromium-driver"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = patiently("the start of chromedriver", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it has ended");
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
        });
        let driver_url = format!("http://127.0.0.1:{}/session", port.await);
        // As root, as in a container, it has no sandbox. Nor shall it look for anything else.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-quic",
            "--disable-sync",
            "--no-first-run",
        ];
        let options = json!({ "args": args });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options,
        }}});
        let begun = send(driver_url.clone(), wanted).await;
        let id = begun["sessionId"].as_str().expect("a session").to_owned();
        Self {
            session: format!("{driver_url}/{id}"),
            _driver: driver,
        }
    }

    pub(crate) async fn open(&self, url: &str) {
        send(format!("{}/url", self.session), json!({ "url": url })).await;
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        send(format!("{}/execute/sync", self.session), body).await
    }

    /// Waits until a script returns what is true.
    pub(crate) async fn wait(&self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(script).await != Value::Bool(true) {
            if Instant::now() > deadline {
                let page = self.run("return document.body.innerText").await;
                panic!("not true: {script}\n{page}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height });
        send(format!("{}/window/rect", self.session), size).await;
    }

    /// Ends it in order: no process of it is left.
    pub(crate) async fn close(self) {
        let session = self.session.clone();
        spawn_blocking(move || ureq::delete(&session).call().map(drop))
            .await
            .unwrap()
            .unwrap();
    }
}

async fn send(url: String, body: Value) -> Value {
    let answer = spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let mut answer = agent
            .post(&url)
            .content_type("application/json")
            .send(body.to_string())
            .unwrap();
        let mut text = String::new();
        answer
            .body_mut()
            .as_reader()
            .read_to_string(&mut text)
            .unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    });
    let answer = patiently("the browser", answer).await.unwrap();
    let value = answer["value"].clone();
    assert!(value.get("error").is_none(), "{value}");
    value
}
