//! A child process that serves, seen from outside.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, LazyLock, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    child::{DESCRIPTORS, LISTENING, STACK},
    client::PATIENCE,
};

/// A proxy in a process of its own. It must be [`finish`](Self::finish)ed;
/// dropping it kills it.
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    pub(crate) addr: SocketAddr,
    log: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
    share: OwnedSemaphorePermit,
}

impl Process {
    /// One that serves `stack`, for a test that wants so many descriptors of
    /// its own: see [`room`](Self::room).
    pub(crate) async fn start(stack: &str, wanted: usize) -> Self {
        Self::start_with(stack, wanted, None).await
    }

    /// One that serves `stack` and may itself have so many `descriptors`.
    pub(crate) async fn start_with(stack: &str, wanted: usize, descriptors: Option<usize>) -> Self {
        let share = share(wanted).await;
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["child::proxy", "--exact", "--ignored", "--nocapture"])
            .env(STACK, stack)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(descriptors) = descriptors {
            command.env(DESCRIPTORS, descriptors.to_string());
        }
        let mut child = command.spawn().unwrap();
        let orders = child.stdin.take();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let reading = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in BufReader::new(stderr).lines() {
                    log.lock().unwrap().push_str(&(line.unwrap() + "\n"));
                }
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let addr = loop {
            let mut line = String::new();
            let len = stdout.read_line(&mut line).unwrap();
            assert_ne!(len, 0, "it ended: {}", log.lock().unwrap());
            // The harness may have left something on the line.
            if let Some((_, addr)) = line.trim().split_once(LISTENING) {
                break addr.parse().unwrap();
            }
        };
        // What else the harness says is nobody's business.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        Self {
            child,
            orders,
            addr,
            log,
            reading: Some(reading),
            share,
        }
    }

    /// How many descriptors the test may have: what it wanted, or all that the
    /// system permits if that is less.
    pub(crate) fn room(&self) -> usize {
        self.share.num_permits()
    }

    /// Has it drop its server.
    pub(crate) fn drop_server(&mut self) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "drop").unwrap();
    }

    /// How many descriptors it holds.
    pub(crate) fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(path).unwrap().count()
    }

    /// Waits until it holds no more than `expected` descriptors.
    pub(crate) async fn settle(&self, expected: usize) {
        let began = Instant::now();
        while self.descriptors() > expected {
            let held = self.descriptors();
            assert!(began.elapsed() < PATIENCE, "{held}, not {expected}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The CPU time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(path).unwrap();
        // Behind the name, which may hold anything: state is field 3, utime 14,
        // stime 15.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let field = |number: usize| {
            let field = fields.split_whitespace().nth(number - 3);
            field.unwrap().parse::<u64>().unwrap()
        };
        let ticks = field(14) + field(15);
        Duration::from_millis(ticks * 1000 / clock_ticks_per_second())
    }

    /// Bytes of memory that it uses.
    pub(crate) fn memory(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Ends it, and checks that nothing in it has panicked.
    pub(crate) fn finish(mut self) {
        self.orders = None;
        let status = self.child.wait().unwrap();
        self.reading.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap();
        assert!(!log.contains("panicked at"), "{log}");
        assert!(status.success(), "{status}: {log}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The descriptors that this process may have, which tests that run side by
/// side share.
struct Descriptors {
    most: usize,
    free: Arc<Semaphore>,
}

static OURS: LazyLock<Descriptors> = LazyLock::new(|| {
    /// For what every process has, and for a tunnel or two of each test.
    const RESERVED: u64 = 128;
    /// More than all tests want.
    const ENOUGH: u64 = 20_000;

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Children inherit it.
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH) - RESERVED;
    let most = usize::try_from(most).unwrap();
    let free = Arc::new(Semaphore::new(most));
    Descriptors { most, free }
});

/// Waits until this process may have `wanted` descriptors more, or all that the
/// system permits if that is less.
async fn share(wanted: usize) -> OwnedSemaphorePermit {
    let Descriptors { most, free } = &*OURS;
    if *most < wanted {
        eprintln!("the hard limit permits {most} descriptors, not {wanted}");
    }
    let share = u32::try_from(wanted.min(*most)).unwrap();
    Arc::clone(free).acquire_many_owned(share).await.unwrap()
}
