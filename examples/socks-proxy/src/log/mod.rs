//! The log goes to standard error, or to a file, and nobody waits for it: lines go over a
//! bounded queue to a thread of its own. What finds the queue full, because
//! nobody reads the log, is dropped, and the log says how much that was.

mod file;
mod named;

use std::{
    env,
    error::Error,
    io::{self, IsTerminal, Write, stderr},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, reload};

pub use self::file::{LogFile, Reopen};
use self::named::Named;
use crate::{
    config::{Config, LogFormat},
    node,
};

/// What the log is to hold.
pub fn filter(config: &Config) -> Result<EnvFilter, Box<dyn Error>> {
    let filter = match &config.log {
        Some(filter) => filter.clone(),
        None => env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()),
    };
    EnvFilter::try_new(&filter).map_err(|error| {
        let log = config.said.at("log");
        format!("{log}: {filter:?} is no filter for the log: {error}").into()
    })
}

/// Lines that may wait to be written: some megabytes.
const MAX_WAITING: usize = 8192;

/// Dropping it writes what waits, and gives up after little more than a second.
pub struct Log {
    queue: NonBlocking,
    /// None only while it is dropped.
    until_written: Option<WorkerGuard>,
    reopen: Reopen,
    to_stderr: bool,
    /// None before it begins.
    refilter: Option<Refilter>,
}

type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

impl Log {
    pub fn to_stderr(format: LogFormat) -> Self {
        Self::new(stderr(), format, None, MAX_WAITING)
    }

    /// Where the operator wants it.
    pub fn of(config: &Config) -> Result<Self, Box<dyn Error>> {
        let node = node::said(config);
        let Some(path) = &config.log_file else {
            return Ok(Self::new(stderr(), config.log_format, node, MAX_WAITING));
        };
        let reopen = Reopen::default();
        let file = LogFile::open(path, reopen.clone()).map_err(|error| {
            let key = config.said.at("log-file");
            format!("{key}: cannot write {}: {error}", path.display())
        })?;
        let mut log = Self::new(file, config.log_format, node, MAX_WAITING);
        (log.reopen, log.to_stderr) = (reopen, false);
        Ok(log)
    }

    fn new(
        out: impl Write + Send + 'static,
        format: LogFormat,
        node: Option<String>,
        max_waiting: usize,
    ) -> Self {
        let dropped = Arc::new(OnceLock::new());
        let out = Counting {
            out: Named::new(out, format, node),
            format,
            dropped: Arc::clone(&dropped),
            told: 0,
            told_at: None,
        };
        let (queue, until_written) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(max_waiting)
            .thread_name("log")
            .finish(out);
        // Nobody has set it yet.
        let _ = dropped.set(queue.error_counter());
        Self {
            queue,
            until_written: Some(until_written),
            reopen: Reopen::default(),
            to_stderr: true,
            refilter: None,
        }
    }

    /// Has it hold what the operator wants, from the first time on.
    pub fn begin(&mut self, config: &Config) -> Result<(), Box<dyn Error>> {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(config)?)
            .with_ansi(self.to_stderr && stderr().is_terminal())
            .with_writer(self.queue.clone());
        self.refilter = Some(match config.log_format {
            LogFormat::Text => {
                let subscriber = subscriber.with_filter_reloading();
                let filter = subscriber.reload_handle();
                subscriber.init();
                Box::new(move |new| filter.reload(new))
            }
            LogFormat::Json => {
                let subscriber = subscriber.json().with_filter_reloading();
                let filter = subscriber.reload_handle();
                subscriber.init();
                Box::new(move |new| filter.reload(new))
            }
        });
        Ok(())
    }

    /// Has it hold something else from now on.
    pub fn set_filter(&self, filter: EnvFilter) {
        // It lives as long as the program.
        let _ = self.refilter.as_ref().map(|set| set(filter));
    }

    /// What opens its files again: at once, though there may be nothing to write.
    pub fn reopen(&self) {
        self.reopen.tell();
        let _ = self.queue.clone().write(b"");
    }

    /// Says why the program ends, whatever the filter.
    pub fn say(&self, error: &dyn Error) {
        let mut line = format!("socks-proxy: {error}");
        let causes = std::iter::successors(error.source(), |&error| error.source());
        causes.for_each(|cause| line += &format!(": {cause}"));
        line.push('\n');
        // It never fails.
        let _ = self.queue.clone().write_all(line.as_bytes());
        if !self.to_stderr {
            let _ = stderr().write_all(line.as_bytes());
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The guard gives up after a second, and then has something to say,
        // which may block as the log does.
        let until_written = self.until_written.take();
        let (done, written) = mpsc::channel::<()>();
        thread::spawn(move || {
            drop(until_written);
            drop(done);
        });
        let _ = written.recv_timeout(Duration::from_millis(1200));
    }
}

/// Writes lines, and how many were dropped.
struct Counting<W> {
    out: W,
    format: LogFormat,
    dropped: Arc<OnceLock<ErrorCounter>>,
    /// Of those, how many the log has told of, and when.
    told: usize,
    told_at: Option<Instant>,
}

impl<W: Write> Counting<W> {
    /// Between two lines about that.
    const PAUSE: Duration = Duration::from_secs(10);

    fn dropped(&self) -> usize {
        self.dropped.get().map_or(0, ErrorCounter::dropped_lines)
    }

    fn tell(&mut self) -> io::Result<()> {
        let lines = self.dropped() - self.told;
        if lines == 0 {
            return Ok(());
        }
        self.told += lines;
        self.told_at = Some(Instant::now());
        let line = match self.format {
            LogFormat::Text => format!("{lines} lines of the log were dropped"),
            LogFormat::Json => format!(
                r#"{{"level":"WARN","fields":{{"message":"lines of the log were dropped","lines":{lines}}}}}"#
            ),
        };
        self.out.write_all((line + "\n").as_bytes())
    }
}

impl<W: Write> Write for Counting<W> {
    /// Given one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.out.write_all(line)?;
        if self.dropped() != self.told && self.told_at.is_none_or(|at| at.elapsed() > Self::PAUSE) {
            self.tell()?;
        }
        Ok(line.len())
    }

    /// Called when no line waits any more.
    fn flush(&mut self) -> io::Result<()> {
        self.tell()?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes a line whenever it is let.
    #[derive(Clone)]
    struct Out {
        gate: Arc<Mutex<mpsc::Receiver<()>>>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.lock().unwrap().recv();
            let mut text = self.text.lock().unwrap();
            text.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_queue_drops_is_counted_and_said() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (open, gate) = mpsc::channel();
            let out = Out {
                gate: Arc::new(Mutex::new(gate)),
                text: Arc::default(),
            };
            let text = Arc::clone(&out.text);
            let log = Log::new(out, format, None, 4);
            for _ in 0..100 {
                log.queue.clone().write_all(b"line\n").unwrap();
            }
            let dropped = log.queue.error_counter().dropped_lines();
            assert!((95..=96).contains(&dropped), "{dropped}");
            drop(open);
            drop(log);
            let text = text.lock().unwrap();
            let written = text.matches("line\n").count();
            assert_eq!(written + dropped, 100, "{text}");
            let said = match format {
                LogFormat::Text => format!("\n{dropped} lines of the log were dropped\n"),
                LogFormat::Json => format!(r#""lines":{dropped}}}"#),
            };
            assert_eq!(text.matches(&said).count(), 1, "{text}");
        }
    }
}
