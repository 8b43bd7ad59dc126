use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    future::{Future, Ready, ready},
    hash::{BuildHasher, Hash as StdHash, Hasher},
    io,
    num::NonZeroUsize,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread::available_parallelism,
    time::Duration,
};

use socks_core::{Credentials, Password};
use tokio::time::Instant;
use tokio_util::either::Either;
use tower_service::Service;

use super::{HashedUsers, VerifyError, hash::Hash, list::Secret};
use crate::{
    session::{
        Identity, always_ready, later, opaque_future,
        threads::{Asker, Limits, Pool, Rejected, STACK},
    },
    stages::authenticate::{
        Attempt, WrongCredentials,
        fingerprint::{Fingerprint, Fingerprints},
    },
};

/// Checks passwords against hashes: a verifier, and the handle to its users, who can be
/// replaced while they serve. See the
/// [module's page](crate::stages::authenticate::password_file).
///
/// Clones share their users, their threads and what they remember.
#[derive(Clone)]
pub struct VerifyPasswords {
    users: Arc<Users>,
    pool: Arc<Pool<Check, bool>>,
    memory: Duration,
}

struct Users {
    current: RwLock<Arc<Current>>,
    /// Of those who are listed, the last password that was right.
    remembered: Mutex<HashMap<Box<str>, Remembered>>,
    fingerprints: Fingerprints,
    stand_ins: RandomState,
}

struct Current {
    users: HashedUsers,
    /// All hashes: those who have none are judged by one of them.
    by_cost: Vec<Arc<Hash>>,
}

struct Remembered {
    fingerprint: Fingerprint,
    /// What it was checked against.
    hash: Arc<Hash>,
    until: Instant,
}

/// A password to check. The same one of the same user need be checked only once.
#[derive(Clone)]
struct Check(Arc<Checked>);

struct Checked {
    fingerprint: Fingerprint,
    password: Password,
    hash: Arc<Hash>,
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        // Told apart from a stand-in's by the name in the fingerprint.
        self.0.fingerprint == other.0.fingerprint && self.0.hash == other.0.hash
    }
}

impl Eq for Check {}

impl StdHash for Check {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.fingerprint.hash(state);
    }
}

impl VerifyPasswords {
    /// 4096 checks may wait for a thread, half of them one client's. By the negotiation's
    /// deadline they are gone.
    pub const DEFAULT_QUEUE: usize = 4096;

    /// A right password is remembered for five minutes.
    pub const DEFAULT_MEMORY: Duration = Duration::from_secs(5 * 60);

    /// Checks against the hashes of `users`, on as many threads as there are cores.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub fn new(users: HashedUsers) -> io::Result<Self> {
        Self::checking(users, |hash, password| hash.is_of(password))
    }

    fn checking(
        users: HashedUsers,
        check: impl Fn(&Hash, &[u8]) -> io::Result<bool> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let limits = Limits {
            name: "socks-passwords",
            threads: available_parallelism().map_or(1, NonZeroUsize::get),
            queue: Self::DEFAULT_QUEUE,
            stack: STACK,
        };
        let check = move |Check(it): &Check| check(&it.hash, it.password.as_bytes());
        Ok(Self {
            users: Arc::new(Users {
                current: RwLock::new(Arc::new(Current::new(users))),
                remembered: Mutex::default(),
                fingerprints: Fingerprints::new()?,
                stand_ins: RandomState::new(),
            }),
            pool: Arc::new(Pool::new(limits, Arc::new(check))),
            memory: Self::DEFAULT_MEMORY,
        })
    }

    /// How many passwords are checked at a time, each on a thread of its own, and each
    /// with the memory that its hash asks for.
    ///
    /// Clones made before keep the bounds, and the threads, that they had.
    #[must_use]
    pub fn with_threads(mut self, threads: NonZeroUsize) -> Self {
        let threads = threads.get();
        self.pool = Arc::new(self.pool.with_limits(|limits| Limits { threads, ..limits }));
        self
    }

    /// How many checks may wait for a thread. One more than its part of them fails for a
    /// client at once with [`VerifyError::Overloaded`].
    ///
    /// Clones made before keep the bounds, and the threads, that they had.
    #[must_use]
    pub fn with_queue(mut self, queue: usize) -> Self {
        self.pool = Arc::new(self.pool.with_limits(|limits| Limits { queue, ..limits }));
        self
    }

    /// For how long a right password is remembered: zero for not at all.
    #[must_use]
    pub fn with_memory(mut self, memory: Duration) -> Self {
        self.memory = memory;
        self
    }

    /// Lets in `users`, and no others, from now on. Forgets those who are not listed as
    /// they were; a password that is being checked for one of them is wrong.
    pub fn replace(&self, users: HashedUsers) {
        let new = Arc::new(Current::new(users));
        let mut current = self
            .users
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, Arc::clone(&new));
        drop(current);
        self.users
            .remembered()
            .retain(|name, it| new.has(name, &it.hash));
        drop(old);
    }

    /// The users that stand now.
    #[must_use]
    pub fn current(&self) -> HashedUsers {
        self.users.current().users.clone()
    }

    /// Judges at once whom it can; else what there is to compute.
    fn judge(&self, given: Credentials) -> Result<Verdict, WrongCredentials> {
        let wrong = WrongCredentials::new();
        if given.password.as_bytes().is_empty() {
            return Err(wrong);
        }
        let current = self.users.current();
        // No name that is listed is empty.
        let name = given.username.to_str().unwrap_or_default();
        let listed = current.users.get(name);
        let clear = match listed {
            Some(Secret::Clear(password)) => password,
            // Compared as well, with nothing gained.
            Some(Secret::Hashed(_)) | None => &given.password,
        };
        let is_right = *clear == given.password;
        if is_right && matches!(listed, Some(Secret::Clear(_))) {
            return Ok(Verdict::Right(Identity::new(name)));
        }
        let fields = [given.username.as_bytes(), given.password.as_bytes()];
        let fingerprint = || self.users.fingerprints.of(fields);
        let (fingerprint, hash, is_listed) = match listed {
            Some(Secret::Hashed(hash)) => {
                let fingerprint = fingerprint();
                if self.users.remembers(name, hash, &fingerprint) {
                    return Ok(Verdict::Right(Identity::new(name)));
                }
                (fingerprint, Arc::clone(hash), true)
            }
            // Of no use but that it takes as long.
            Some(Secret::Clear(_)) | None => {
                let number = self.users.stand_ins.hash_one(&given.username);
                let hash = current.stand_in(number).ok_or(wrong)?;
                (fingerprint(), hash, false)
            }
        };
        let name = is_listed.then(|| name.into());
        let check = Check(Arc::new(Checked {
            fingerprint,
            password: given.password,
            hash,
        }));
        Ok(Verdict::Unclear { name, check })
    }
}

enum Verdict {
    Right(Identity),
    /// To be checked; without a name it is wrong whatever is found.
    Unclear {
        name: Option<Box<str>>,
        check: Check,
    },
}

impl Users {
    fn current(&self) -> Arc<Current> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<Box<str>, Remembered>> {
        // Nothing panics while it holds the lock.
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remembers(&self, name: &str, hash: &Hash, fingerprint: &Fingerprint) -> bool {
        let remembered = self.remembered();
        let entry = remembered.get(name);
        entry.is_some_and(|it| {
            it.fingerprint == *fingerprint && *it.hash == *hash && Instant::now() < it.until
        })
    }

    /// Lets `name` in, whose password was the one of `check`, if it is listed yet.
    fn admit(&self, name: Box<str>, check: &Checked, memory: Duration) -> Option<Identity> {
        let current = self.current();
        if !current.has(&name, &check.hash) {
            return None;
        }
        let identity = Identity::new(&*name);
        if !memory.is_zero() {
            let entry = Remembered {
                fingerprint: check.fingerprint,
                hash: Arc::clone(&check.hash),
                until: later(Instant::now(), memory),
            };
            self.remembered().insert(name, entry);
        }
        Some(identity)
    }
}

impl Current {
    fn new(users: HashedUsers) -> Self {
        let by_cost = users.by_cost();
        Self { users, by_cost }
    }

    fn has(&self, name: &str, hash: &Hash) -> bool {
        matches!(self.users.get(name), Some(Secret::Hashed(listed)) if **listed == *hash)
    }

    /// The hash that stands in for a user of this number: always the same one, as a
    /// user's own is. They are in order, so that of a list that changes a little, few
    /// get one of another cost.
    fn stand_in(&self, number: u64) -> Option<Arc<Hash>> {
        let place = (u128::from(number) * self.by_cost.len() as u128) >> 64;
        self.by_cost.get(usize::try_from(place).ok()?).cloned()
    }
}

impl fmt::Debug for VerifyPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyPasswords")
            .field("users", &self.users.current().users.len())
            .field("pool", &self.pool)
            .field("memory", &self.memory)
            .finish()
    }
}

type BoxVerdict = Pin<Box<dyn Future<Output = Result<Identity, VerifyError>> + Send>>;

opaque_future! {
    /// The future of [`VerifyPasswords`]. Dropping it withdraws the check, if that has
    /// not begun.
    VerifyPasswordsFuture<> -> Result<Identity, VerifyError>
        = Either<Ready<Result<Identity, VerifyError>>, BoxVerdict>
}

impl Service<Attempt<Credentials>> for VerifyPasswords {
    type Response = Identity;
    type Error = VerifyError;
    type Future = VerifyPasswordsFuture;

    always_ready!();

    fn call(&mut self, attempt: Attempt<Credentials>) -> Self::Future {
        let asker = Asker::of(&attempt.session);
        let (name, check) = match self.judge(attempt.credentials) {
            Ok(Verdict::Unclear { name, check }) => (name, check),
            Ok(Verdict::Right(identity)) => {
                return VerifyPasswordsFuture::new(Either::Left(ready(Ok(identity))));
            }
            Err(wrong) => {
                return VerifyPasswordsFuture::new(Either::Left(ready(Err(wrong.into()))));
            }
        };
        let this = self.clone();
        VerifyPasswordsFuture::new(Either::Right(Box::pin(async move {
            let pending = match this.pool.submit(&asker, check.clone()) {
                Ok(pending) => pending,
                Err(Rejected::Overloaded(limit)) => {
                    let source = io::ErrorKind::ResourceBusy.into();
                    return Err(VerifyError::Overloaded { limit, source });
                }
                Err(Rejected::NoThread(source)) => return Err(VerifyError::Failed { source }),
            };
            let is_right = pending
                .await
                .map_err(|source| VerifyError::Failed { source })?;
            let admitted = match name {
                Some(name) if is_right => this.users.admit(name, &check.0, this.memory),
                _ => None,
            };
            admitted.ok_or_else(|| WrongCredentials::new().into())
        })))
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::mpsc, task::Poll};

    use tokio_test::task::spawn;
    use tower::ServiceExt;

    use super::*;
    use crate::session::Session;

    const JOE: &str = "$2y$04$.DAff.bWKzbu2zdUXzdgx.te026.OKKflvLEJX0weSglWVmwfAY.i";
    const ANN: &str = "$5$l4mItiR.Z1C6ohk6$S5/o4Rmb2k0dFIK/NZbCm7BJZu0u0lyylFf0MF.mJE5";

    fn users(list: &[(&str, &str)]) -> HashedUsers {
        list.iter().fold(HashedUsers::new(), |users, (name, hash)| {
            users.with_hash(name, hash).unwrap()
        })
    }

    fn attempt(client: u32, name: &str, password: &str) -> Attempt {
        let ip = Ipv4Addr::from_bits(client);
        let session = Session::new().with_client_addr((ip, 1).into());
        Attempt::new(session, Credentials::new(name, password).unwrap())
    }

    async fn comes(verifier: &VerifyPasswords, name: &str, password: &str) -> bool {
        let verdict = verifier.clone().oneshot(attempt(1, name, password)).await;
        match verdict {
            Ok(identity) => identity.as_str() == name,
            Err(VerifyError::Wrong(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// In the place of hashes: "secret" is right. Says what it was asked to check
    /// against, and does not answer of passwords that begin with "stuck" before it is
    /// told to.
    fn doubled(users: HashedUsers) -> (VerifyPasswords, Checks) {
        let (tell, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let verifier = VerifyPasswords::checking(users, move |hash, password| {
            tell.send((hash.clone(), password.to_owned())).ok();
            if password.starts_with(b"stuck") {
                released.lock().unwrap().recv().ok();
            }
            Ok(password == b"secret" || password == b"stuck, but right")
        });
        (verifier.unwrap(), Checks { begun, release })
    }

    struct Checks {
        begun: mpsc::Receiver<(Hash, Vec<u8>)>,
        release: mpsc::Sender<()>,
    }

    impl Checks {
        fn count(&self) -> usize {
            self.begun.try_iter().count()
        }

        fn hashes(&self) -> Vec<Hash> {
            self.begun.try_iter().map(|(hash, _)| hash).collect()
        }
    }

    #[tokio::test]
    async fn those_who_are_listed_come_in_with_their_password_alone() {
        let verifier = VerifyPasswords::new(users(&[("joe", JOE), ("ann", ANN)])).unwrap();
        for _ in 0..2 {
            for (name, password, expected) in [
                ("joe", "secret", true),
                ("ann", "secret", true),
                ("joe", "Secret", false),
                ("joe", "", false),
                ("", "secret", false),
                // The password of the hash that stands in.
                ("bob", "secret", false),
            ] {
                assert_eq!(comes(&verifier, name, password).await, expected, "{name}");
            }
        }
        let name = Credentials::new([0xff], "secret").unwrap();
        let error = verifier.oneshot(Attempt::new(Session::new(), name)).await;
        assert!(matches!(error, Err(VerifyError::Wrong(_))));
    }

    #[tokio::test]
    async fn an_empty_list_lets_nobody_in_and_computes_nothing() {
        let (verifier, checks) = doubled(HashedUsers::new());
        assert!(!comes(&verifier, "joe", "secret").await);
        assert_eq!(checks.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_is_remembered_for_its_time_and_a_wrong_one_is_not() {
        let (verifier, checks) = doubled(users(&[("joe", JOE)]));
        let verifier = verifier.with_memory(Duration::from_secs(60));
        for _ in 0..100 {
            assert!(comes(&verifier, "joe", "secret").await);
        }
        assert_eq!(checks.count(), 1);
        for _ in 0..3 {
            assert!(!comes(&verifier, "joe", "wrong").await);
            assert!(!comes(&verifier, "bob", "secret").await);
        }
        assert_eq!(checks.count(), 6);
        assert!(comes(&verifier, "joe", "secret").await);
        assert_eq!(verifier.users.remembered().len(), 1);

        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(comes(&verifier, "joe", "secret").await);
        assert_eq!(checks.count(), 1);

        let forgetful = verifier.with_memory(Duration::ZERO);
        forgetful.replace(HashedUsers::new());
        forgetful.replace(users(&[("joe", JOE)]));
        for _ in 0..3 {
            assert!(comes(&forgetful, "joe", "secret").await);
        }
        assert_eq!(checks.count(), 3);
    }

    #[tokio::test]
    async fn whose_line_changes_is_forgotten_and_others_are_not() {
        let (verifier, checks) = doubled(users(&[("joe", JOE), ("ann", ANN), ("bob", ANN)]));
        for name in ["joe", "ann", "bob"] {
            assert!(comes(&verifier, name, "secret").await);
        }
        assert_eq!(checks.count(), 3);

        verifier.replace(users(&[("joe", JOE), ("ann", JOE)]));
        assert_eq!(verifier.users.remembered().len(), 1);
        assert!(comes(&verifier, "joe", "secret").await);
        assert_eq!(checks.count(), 0);
        assert!(comes(&verifier, "ann", "secret").await);
        assert!(!comes(&verifier, "bob", "secret").await);
        assert_eq!(checks.count(), 2);
    }

    #[tokio::test]
    async fn who_is_taken_off_the_list_while_its_password_is_checked_stays_out() {
        let (verifier, checks) = doubled(users(&[("joe", JOE)]));
        let mut first = spawn(
            verifier
                .clone()
                .oneshot(attempt(1, "joe", "stuck, but right")),
        );
        assert!(first.poll().is_pending());
        checks.begun.recv().unwrap();

        verifier.replace(users(&[("ann", JOE)]));
        checks.release.send(()).unwrap();

        assert!(matches!(first.await, Err(VerifyError::Wrong(_))));
        assert!(verifier.users.remembered().is_empty());
    }

    #[tokio::test]
    async fn a_thousand_who_come_at_once_with_one_password_have_it_checked_once() {
        let (verifier, checks) = doubled(users(&[("joe", JOE)]));
        let mut waiting: Vec<_> = (0..1000)
            .map(|client| {
                let attempt = attempt(client, "joe", "stuck, but right");
                spawn(verifier.clone().oneshot(attempt))
            })
            .collect();
        for attempt in &mut waiting {
            assert!(attempt.poll().is_pending());
        }
        checks.release.send(()).unwrap();
        for attempt in waiting {
            assert_eq!(attempt.await.unwrap().as_str(), "joe");
        }
        assert_eq!(checks.count(), 1);
    }

    /// Or an attempt on a name that nobody has would be let in by another's answer.
    #[tokio::test]
    async fn the_same_password_of_another_name_is_another_check() {
        let (verifier, checks) = doubled(users(&[("joe", JOE), ("ann", JOE)]));
        let mut waiting: Vec<_> = ["joe", "ann", "bob"]
            .map(|name| {
                spawn(
                    verifier
                        .clone()
                        .oneshot(attempt(1, name, "stuck, but right")),
                )
            })
            .into();
        for attempt in &mut waiting {
            assert!(attempt.poll().is_pending());
        }
        (0..3).for_each(|_| checks.release.send(()).unwrap());
        let mut let_in = Vec::new();
        for attempt in waiting {
            let_in.push(attempt.await.is_ok());
        }
        assert_eq!(let_in, [true, true, false]);
        assert_eq!(checks.count(), 3);
    }

    #[tokio::test]
    async fn a_name_that_is_not_listed_costs_what_one_that_is_does() {
        let mut list = users(&[("ann", ANN)]);
        for number in 0..99 {
            list = list.with_hash(&format!("user{number}"), JOE).unwrap();
        }
        let (verifier, checks) = doubled(list.clone());
        let mut by_name = Vec::new();
        for number in 0..1000 {
            comes(&verifier, &format!("stranger{number}"), "secret").await;
            let checked = checks.hashes();
            assert_eq!(checked.len(), 1);
            by_name.extend(checked);
        }
        // As many of each cost as there are of users, more or less: 10 are expected.
        let costly = by_name
            .iter()
            .filter(|hash| hash.cost() == Hash::parse(ANN).unwrap().cost());
        assert!((1..40).contains(&costly.count()));

        // And always the same, though the list grows.
        verifier.replace(list.with_hash("another", JOE).unwrap());
        let mut changed = 0;
        for (number, before) in by_name.iter().enumerate() {
            comes(&verifier, &format!("stranger{number}"), "wrong").await;
            changed += usize::from(checks.hashes()[0].cost() != before.cost());
        }
        assert!(changed < 10, "{changed} of 1000");
    }

    #[tokio::test]
    async fn a_password_in_clear_is_right_at_once_and_takes_as_long_as_any_if_it_is_wrong() {
        let clear = |users: HashedUsers| users.with_password("bob", "secret").unwrap();
        let (verifier, checks) = doubled(clear(users(&[("joe", JOE)])));
        assert!(comes(&verifier, "bob", "secret").await);
        assert_eq!(checks.count(), 0);
        assert!(!comes(&verifier, "bob", "wrong").await);
        assert_eq!(checks.count(), 1);

        let (verifier, checks) = doubled(clear(HashedUsers::new()));
        assert!(comes(&verifier, "bob", "secret").await);
        assert!(!comes(&verifier, "bob", "wrong").await);
        assert_eq!(checks.count(), 0);
    }

    #[tokio::test]
    async fn newcomers_have_their_turn_while_somebody_tries_thousands() {
        let (verifier, checks) = doubled(users(&[("joe", JOE)]));
        let verifier = verifier.with_threads(NonZeroUsize::new(4).unwrap());
        let mut guesses: Vec<_> = (0..10_000)
            .map(|number| {
                let attempt = attempt(1, "joe", &format!("stuck{number}"));
                spawn(verifier.clone().oneshot(attempt))
            })
            .collect();
        let mut refused = 0;
        for guess in &mut guesses {
            if let Poll::Ready(verdict) = guess.poll() {
                let error = verdict.unwrap_err();
                assert!(matches!(error, VerifyError::Overloaded { limit: 4100, .. }));
                refused += 1;
            }
        }
        assert_eq!(refused, 10_000 - 2050, "it has its half of the queue");

        for client in 2..50 {
            verifier.replace(HashedUsers::new());
            verifier.replace(users(&[("joe", JOE)]));
            let verdict = verifier
                .clone()
                .oneshot(attempt(client, "joe", "secret"))
                .await;
            assert_eq!(verdict.unwrap().as_str(), "joe");
        }
        let begun = checks
            .begun
            .try_iter()
            .filter(|(_, it)| it.starts_with(b"stuck"));
        assert_eq!(begun.count(), 2, "and half of the threads");

        // Who has gone leaves nothing to do.
        drop(guesses);
        assert_eq!(verifier.pool.len(), 2);
        drop(checks.release);
    }

    /// A `LockoutLayer` does not count what has an I/O error among its causes.
    #[tokio::test]
    async fn what_cannot_be_checked_is_trouble_of_ours() {
        let list = users(&[("joe", JOE)]);
        let failing =
            VerifyPasswords::checking(list.clone(), |_, _| Err(io::ErrorKind::OutOfMemory.into()));
        let failed = failing.unwrap().oneshot(attempt(1, "joe", "secret")).await;

        let (full, checks) = doubled(list);
        let full = full.with_threads(NonZeroUsize::MIN).with_queue(0);
        let mut first = spawn(full.clone().oneshot(attempt(1, "joe", "stuck")));
        assert!(first.poll().is_pending());
        let refused = full.oneshot(attempt(2, "joe", "secret")).await;
        drop(checks.release);

        for (verdict, kind) in [
            (failed, io::ErrorKind::OutOfMemory),
            (refused, io::ErrorKind::ResourceBusy),
        ] {
            let error = verdict.unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            let source: &io::Error = source.downcast_ref().unwrap();
            assert_eq!(source.kind(), kind);
        }
    }

    #[test]
    fn nothing_that_is_printed_has_a_secret_in_it() {
        let list = users(&[("joe", JOE)])
            .with_password("bob", "hunter2")
            .unwrap();
        let verifier = VerifyPasswords::new(list.clone()).unwrap();
        let printed = format!("{list:?} {verifier:?} {:?}", attempt(1, "joe", "hunter2"));
        assert!(
            !printed.contains("hunter2") && !printed.contains("$2y$"),
            "{printed}"
        );
    }
}
