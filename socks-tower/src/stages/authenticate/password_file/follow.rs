//! Reads a file again while others may be writing it.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{HashedUsers, PasswordFileError, VerifyPasswords, list::contents};
use crate::session::Chain;

/// Between two readings that have to be the same.
const PAUSE: Duration = Duration::from_millis(100);

/// So often it is read until two are.
const READINGS: usize = 50;

impl VerifyPasswords {
    /// Reads the file at `path` again, and lets in its users and no others. It is read
    /// twice, a tenth of a second apart, and again until both are the same: half of what
    /// somebody writes is not taken for all of it.
    ///
    /// # Errors
    ///
    /// As [`HashedUsers::read`], and if the file is another each time for five seconds.
    /// The old users stand then.
    pub async fn reload(&self, path: impl Into<PathBuf>) -> Result<(), PasswordFileError> {
        let users = settled(path.into().into()).await?;
        if users != self.current() {
            self.replace(users);
        }
        Ok(())
    }

    /// Looks at the file at `path` after each time of `every`, a tenth of a second at
    /// least, and [reloads](Self::reload) it once it has changed and is the same for two looks. What
    /// comes of it is logged; whatever is wrong, the old users stand, and what could not
    /// be read is tried again. It goes on until it is dropped.
    pub async fn follow(self, path: impl Into<PathBuf>, every: Duration) {
        let path: Arc<Path> = path.into().into();
        let every = every.max(PAUSE);
        let (mut last_read, mut last_seen) = (None, None);
        loop {
            sleep(every).await;
            let seen = stamp(Arc::clone(&path)).await;
            let is_read = seen.is_some() && seen == last_read;
            if is_read || seen != last_seen {
                last_seen = seen;
                continue;
            }
            match self.reload(&*path).await {
                Ok(()) => {
                    last_read = seen;
                    let users = self.current().len();
                    tracing::info!(path = %path.display(), users, "users read");
                }
                Err(error) => {
                    if !matches!(error, PasswordFileError::Read { .. }) {
                        last_read = seen;
                    }
                    tracing::error!(error = %Chain(&error), "the old users stand");
                }
            }
        }
    }
}

/// What shows that a file is another than it was.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// Of the file, and when anything of it changed.
    inode: (u64, i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt;
            (metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let inode = (0, 0, 0);
        Self {
            modified: metadata.modified().ok(),
            len: metadata.len(),
            inode,
        }
    }
}

async fn stamp(path: Arc<Path>) -> Option<Stamp> {
    let metadata = spawn_blocking(move || fs::metadata(path))
        .await
        .ok()?
        .ok()?;
    Some(Stamp::of(&metadata))
}

/// Who is in the file once that is the same twice.
async fn settled(path: Arc<Path>) -> Result<HashedUsers, PasswordFileError> {
    // The stamp as well: twice nothing may be between two beginnings.
    let reading = |path: &Path| {
        let (contents, metadata) = contents(path)?;
        Ok((contents, Stamp::of(&metadata)))
    };
    let mut last = read(Arc::clone(&path), reading).await?;
    for _ in 0..READINGS {
        sleep(PAUSE).await;
        let again = read(Arc::clone(&path), reading).await?;
        if again == last {
            return read(path, move |path| HashedUsers::of_file(path, &again.0)).await;
        }
        last = again;
    }
    Err(PasswordFileError::Changing {
        path: (*path).into(),
    })
}

/// Files and long lists hold up whoever asks for them.
async fn read<T: Send + 'static>(
    path: Arc<Path>,
    read: impl FnOnce(&Path) -> Result<T, PasswordFileError> + Send + 'static,
) -> Result<T, PasswordFileError> {
    let of = Arc::clone(&path);
    let done = spawn_blocking(move || read(&of)).await;
    done.unwrap_or_else(|gone| {
        Err(PasswordFileError::Read {
            path: (*path).into(),
            source: io::Error::other(gone),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::time::timeout;

    use super::*;

    const HASHES: [&str; 2] = [
        "$2y$04$.DAff.bWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i",
        "$argon2id$v=19$m=100,t=1,p=1$c29tZXNhbHQ$nL5CJT4s7jjiI8xal5A0JRVSQNR+hDAew76RSp9WW70",
    ];

    /// A file of its own, which is gone with it.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(name: &str) -> Self {
            let name = format!("socks-users-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).unwrap();
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// Ten lines, of users who are in this version alone.
    fn version(number: usize) -> String {
        let hash = HASHES[number % 2];
        let lines = (0..10).map(|user| format!("user{user}of{number}:{hash}\n"));
        lines.collect()
    }

    fn follows(file: &TestFile) -> VerifyPasswords {
        VerifyPasswords::new(HashedUsers::read(&file.0).unwrap()).unwrap()
    }

    /// Whether somebody truncates it and writes line by line, or stops within one.
    #[tokio::test(start_paused = true)]
    async fn half_of_a_file_is_never_taken_for_all_of_it() {
        let file = TestFile::new("torn");
        file.write(&version(0));
        let users = follows(&file);
        let every = Duration::from_secs(1);
        let following = tokio::spawn(users.clone().follow(file.0.clone(), every));

        for number in 1..2000 {
            let text = version(number);
            let whole = HashedUsers::parse(&text).unwrap();
            let before = users.current();
            let mut writer = fs::File::create(&file.0).unwrap();
            for part in text.as_bytes().chunks(text.len() / 5) {
                writer.write_all(part).unwrap();
                // As slow as can be told from being done.
                sleep(every - PAUSE).await;
                let current = users.current();
                assert!(current == before || current == whole, "version {number}");
            }
            sleep(3 * every).await;
            assert_eq!(users.current(), whole, "version {number}");
        }
        following.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_waits_for_a_writer() {
        let file = TestFile::new("writer");
        file.write(&version(0));
        let users = follows(&file);
        let path = file.0.clone();
        let writing = tokio::spawn(async move {
            let mut writer = fs::File::create(path).unwrap();
            for line in version(1).split_inclusive('\n') {
                writer.write_all(line.as_bytes()).unwrap();
                sleep(PAUSE / 2).await;
            }
        });
        tokio::task::yield_now().await;

        users.reload(&file.0).await.unwrap();

        assert_eq!(users.current(), HashedUsers::parse(version(1)).unwrap());
        writing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_stop_changing_is_given_up() {
        let file = TestFile::new("restless");
        file.write(&version(0));
        let users = follows(&file);
        let path = file.0.clone();
        let writing = tokio::spawn(async move {
            for number in 1.. {
                let next = TestFile::new("more-restless");
                next.write(&version(number));
                fs::rename(&next.0, &path).unwrap();
                sleep(PAUSE / 2).await;
            }
        });

        let reload = users.reload(&file.0);
        let error = timeout(Duration::from_secs(6), reload).await.unwrap();

        assert!(
            matches!(error, Err(PasswordFileError::Changing { .. })),
            "{error:?}"
        );
        assert_eq!(users.current(), HashedUsers::parse(version(0)).unwrap());
        writing.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_users_stand_while_the_file_is_wrong_or_gone() {
        let file = TestFile::new("wrong");
        file.write(&version(0));
        let users = follows(&file);
        let old = users.current();
        let following = tokio::spawn(users.clone().follow(file.0.clone(), PAUSE));
        let time = 20 * PAUSE;
        for wrong in [
            "ann:secret\n",
            "\0\u{1}\u{2}",
            "joe:$2y$04$.DAff.bWKzbu2zdUXzdgx",
        ] {
            file.write(wrong);
            sleep(time).await;
            assert_eq!(users.current(), old, "{wrong:?}");
        }
        fs::remove_file(&file.0).unwrap();
        sleep(time).await;
        assert_eq!(users.current(), old);

        // By another file in its place, as careful writers do.
        let next = TestFile::new("next");
        next.write(&version(1));
        fs::rename(&next.0, &file.0).unwrap();
        sleep(time).await;
        assert_eq!(users.current(), HashedUsers::parse(version(1)).unwrap());
        following.abort();
    }
}
