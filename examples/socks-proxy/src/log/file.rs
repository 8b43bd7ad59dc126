//! A file of lines that is opened again when it is told to, once another program has
//! moved it away.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Tells files to open again.
#[derive(Clone, Default)]
pub struct Reopen(Arc<AtomicU64>);

impl Reopen {
    /// From the next line on.
    pub fn tell(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct LogFile {
    path: PathBuf,
    file: File,
    told: Reopen,
    heard: u64,
}

impl LogFile {
    /// What is in it stays, and lines come behind that.
    pub fn open(path: &Path, told: Reopen) -> io::Result<Self> {
        let heard = told.0.load(Ordering::Relaxed);
        Ok(Self {
            path: path.to_owned(),
            file: open(path)?,
            told,
            heard,
        })
    }

    /// One that cannot be opened again goes on where it was, and says so there.
    fn hear(&mut self) -> io::Result<()> {
        let told = self.told.0.load(Ordering::Relaxed);
        if told == self.heard {
            return Ok(());
        }
        self.heard = told;
        match open(&self.path) {
            Ok(file) => self.file = file,
            Err(error) => writeln!(self.file, "{} not opened: {error}", self.path.display())?,
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hear()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hear()?;
        self.file.flush()
    }
}
