//! The verifier: programs that speak Squid's protocol for basic authentication.
//!
//! A question is a line, name and password with everything but letters and digits
//! escaped; the answer is a line that begins with `OK` or `ERR`. What would take C and
//! `unsafe` within the proxy, as PAM does, is in a process of its own so.

use std::{
    fmt::Write as _,
    future::Future,
    io,
    pin::Pin,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use socks_tower::{Attempt, BoxError, Credentials, Identity, WrongCredentials};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Semaphore,
};
use tower::Service;

/// Asks one of a few processes, which are started as they are needed, and stay.
#[derive(Clone)]
pub struct Program {
    pool: Arc<Pool>,
}

struct Pool {
    command: Vec<String>,
    idle: Mutex<Vec<Process>>,
    /// As many processes as there may be.
    turns: Semaphore,
}

impl Program {
    pub fn new(command: Vec<String>, processes: usize) -> Self {
        let pool = Pool {
            command,
            idle: Mutex::default(),
            turns: Semaphore::new(processes),
        };
        Self {
            pool: Arc::new(pool),
        }
    }

    async fn check(self, credentials: Credentials) -> Result<Identity, BoxError> {
        let name = credentials.username.to_str().unwrap_or_default();
        let password = credentials.password.as_bytes();
        // An empty word is no word, and C ends a word at a NUL.
        let is_word = |it: &[u8]| !it.is_empty() && !it.contains(&0);
        if !is_word(name.as_bytes()) || !is_word(password) {
            return Err(WrongCredentials::new().into());
        }
        let question = format!("{} {}\n", escaped(name.as_bytes()), escaped(password));
        match self.pool.ask(&question).await? {
            true => Ok(Identity::new(name)),
            false => Err(WrongCredentials::new().into()),
        }
    }
}

impl Pool {
    /// If nobody waits for the answer any more, the process is ended: the next one would
    /// take that for its own.
    async fn ask(&self, question: &str) -> io::Result<bool> {
        let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
        loop {
            let mut idle = self.lock().pop();
            if idle.as_mut().is_some_and(Process::has_spoken) {
                continue;
            }
            let was_idle = idle.is_some();
            let mut process = idle.map_or_else(|| Process::start(&self.command), Ok)?;
            match process.ask(question).await {
                Ok(verdict) => {
                    self.lock().push(process);
                    return Ok(verdict);
                }
                // It may have ended long ago.
                Err(_) if was_idle => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that runs, and is killed when it is dropped.
struct Process {
    _child: Child,
    questions: ChildStdin,
    answers: ChildStdout,
}

impl Process {
    /// More is no answer.
    const LONGEST: usize = 4096;

    fn start(command: &[String]) -> io::Result<Self> {
        let (program, args) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, answers) = pipes.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            _child: child,
            questions,
            answers,
        })
    }

    /// Whether it has said something unasked, or ended.
    fn has_spoken(&mut self) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        let answers = Pin::new(&mut self.answers);
        answers.poll_read(&mut cx, &mut read).is_ready()
    }

    async fn ask(&mut self, question: &str) -> io::Result<bool> {
        self.questions.write_all(question.as_bytes()).await?;
        let mut line = Vec::new();
        while !line.contains(&b'\n') {
            let read = self.answers.read_buf(&mut line).await?;
            if read == 0 || line.len() > Self::LONGEST {
                return Err(io::Error::other("the program ended, or said no line"));
            }
        }
        // One question, one line.
        let line = line.strip_suffix(b"\n").filter(|it| !it.contains(&b'\n'));
        let line = line.ok_or_else(|| io::Error::other("the program said too much"))?;
        match line.split(|byte| byte.is_ascii_whitespace()).next() {
            Some(b"OK") => Ok(true),
            Some(b"ERR") => Ok(false),
            // Squid's `BH`: it could not find out.
            _ => Err(io::Error::other("the program could not tell")),
        }
    }
}

fn escaped(word: &[u8]) -> String {
    let mut escaped = String::new();
    for byte in word {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => escaped.push(char::from(*byte)),
            // A `String` takes everything.
            _ => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    escaped
}

impl Service<Attempt> for Program {
    type Response = Identity;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attempt: Attempt) -> Self::Future {
        Box::pin(self.clone().check(attempt.credentials))
    }
}
