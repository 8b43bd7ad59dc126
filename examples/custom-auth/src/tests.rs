use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use socks_tower::{Admitted, Identity, Session};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::advance,
};
use tower::service_fn;

use super::*;

/// A file with `joe`, whose password is `good`, until it is dropped.
struct File {
    path: PathBuf,
    users: UserFile,
}

impl File {
    fn with_joe() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("custom-auth-{}-{number}.db", std::process::id());
        let path = env::temp_dir().join(name);
        let users = UserFile::open_or_create(path.to_str().unwrap()).unwrap();
        users.add("joe", "good").unwrap();
        Self { path, users }
    }

    /// The verifier as it is served, and how often the file was asked.
    fn verifier(&self) -> (impl Work<Attempt, Response = Admitted>, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let users = self.users.clone();
        let counted = service_fn(move |attempt: Attempt| {
            count.fetch_add(1, Ordering::Relaxed);
            users.clone().run(attempt)
        });
        (AuthCacheLayer::new(TTL).layer(counted), asked)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn lets_in<V>(verifier: &V, name: &str, password: &str) -> bool
where
    V: Work<Attempt, Response = Admitted>,
{
    let attempt = Attempt::new(
        Session::new(),
        socks_tower::Credentials::new(name, password).unwrap(),
    );
    match verifier.clone().run(attempt).await {
        Ok(admitted) => admitted.identity().map(Identity::as_str) == Some(name),
        Err(error) => {
            assert_eq!(error.to_string(), "wrong username or password");
            false
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_or_has_a_new_password_is_out_after_a_while() {
    let file = File::with_joe();
    file.users.add("ann", "old").unwrap();
    let (verifier, _) = file.verifier();
    assert!(lets_in(&verifier, "joe", "good").await);
    assert!(lets_in(&verifier, "ann", "old").await);

    file.users.remove("joe").unwrap();
    file.users.add("ann", "new").unwrap();
    advance(TTL - Duration::from_millis(1)).await;
    assert!(lets_in(&verifier, "joe", "good").await);
    assert!(lets_in(&verifier, "ann", "old").await);
    assert!(lets_in(&verifier, "ann", "new").await);

    advance(Duration::from_millis(1)).await;
    assert!(!lets_in(&verifier, "joe", "good").await);
    assert!(!lets_in(&verifier, "ann", "old").await);
    assert!(lets_in(&verifier, "ann", "new").await);
}

#[tokio::test]
async fn a_refusal_costs_a_hash_each_time_and_only_the_very_same_is_known() {
    let file = File::with_joe();
    let (verifier, asked) = file.verifier();
    assert!(lets_in(&verifier, "joe", "good").await);
    let wrong = [("joe", "bad"), ("jim", "good"), ("joeg", "ood"), ("", "")];
    for (name, password) in [wrong, wrong].concat() {
        assert!(!lets_in(&verifier, name, password).await, "{name}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1 + 2 * wrong.len());
    assert!(lets_in(&verifier, "joe", "good").await);
    assert_eq!(asked.load(Ordering::Relaxed), 1 + 2 * wrong.len());
}

/// The proxy's answers to a client that comes with this password.
async fn answers(proxy: SocketAddr, password: &[u8; 4]) -> [u8; 4] {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream
        .write_all(b"\x05\x01\x02\x01\x03joe\x04")
        .await
        .unwrap();
    stream.write_all(password).await.unwrap();
    let mut answers = [0; 4];
    stream.read_exact(&mut answers).await.unwrap();
    answers
}

#[tokio::test]
async fn a_hundred_connections_cost_one_hash() {
    let file = File::with_joe();
    let (verifier, asked) = file.verifier();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr();
    let serving = tokio::spawn(server.serve(proxy(verifier).unwrap()));

    let mut clients = JoinSet::new();
    for _ in 0..100 {
        clients.spawn(async move { answers(addr, b"good").await });
    }
    for answers in clients.join_all().await {
        assert_eq!(answers, *b"\x05\x02\x01\x00");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    assert_eq!(answers(addr, b"evil").await, *b"\x05\x02\x01\x01");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    serving.abort();
}
