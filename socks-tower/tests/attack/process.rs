//! A child process that serves, seen from outside.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

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
}

impl Process {
    /// One that serves `stack`.
    pub(crate) fn start(stack: &str) -> Self {
        Self::start_with(stack, None)
    }

    /// One that serves `stack` and may have so many `descriptors`.
    pub(crate) fn start_with(stack: &str, descriptors: Option<u64>) -> Self {
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
        }
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

/// Makes room for as many of `wanted` descriptors in this process as the system
/// permits; says how many of `sessions` can be, if each takes one here and one
/// in the child.
pub(crate) fn room_for(sessions: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX);
    // Other tests run beside.
    let room = usize::try_from(most / 2).unwrap_or(usize::MAX);
    if room < sessions {
        eprintln!("the hard limit of descriptors permits {room} sessions, not {sessions}");
    }
    room.min(sessions)
}
