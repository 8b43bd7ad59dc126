//! Questions that wait and run, by what is asked and by whoever asks.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use tokio::sync::oneshot;

use super::{Answer, shares::Shares};
use crate::session::{ClientKey, Identity, Session, copy_error};

/// What is counted: where a client is, and who.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Those without an address count as one.
    Client(Option<ClientKey>),
    Identity(Identity),
}

/// Whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asker {
    client: Key,
    identity: Option<Key>,
}

impl Asker {
    pub(crate) fn of(session: &Session) -> Self {
        Self {
            client: Key::Client(ClientKey::of_session(session)),
            identity: session.identity.clone().map(Key::Identity),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.client).chain(&self.identity)
    }
}

/// All questions of a pool.
pub(super) struct Line<Q, A> {
    /// One job for each question, however many ask it.
    jobs: HashMap<Q, Job<A>>,
    /// What each has waiting, in the order in which it asked.
    waiting: HashMap<Asker, Waiting<Q>>,
    /// Whose turn it is; the least number is next.
    turns: BTreeMap<u64, Asker>,
    running: Shares<Key>,
    pending: Shares<Key>,
    last: u64,
}

struct Waiting<Q> {
    turn: u64,
    questions: BTreeMap<u64, Q>,
}

struct Job<A> {
    has_begun: bool,
    waiters: HashMap<u64, Waiter<A>>,
}

struct Waiter<A> {
    asker: Asker,
    answer: oneshot::Sender<Answer<A>>,
}

impl<Q: Clone + Eq + Hash, A: Clone> Line<Q, A> {
    /// Of `running` jobs at a time, and `pending` questions that run or wait.
    pub(super) fn new(running: usize, pending: usize) -> Self {
        Self {
            jobs: HashMap::new(),
            waiting: HashMap::new(),
            turns: BTreeMap::new(),
            running: Shares::new(running),
            pending: Shares::new(pending),
            last: 0,
        }
    }

    /// Jobs that run or wait.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Joins the job of `question` if there is one. None if `asker` has its part of
    /// what may be pending.
    pub(super) fn join(
        &mut self,
        asker: &Asker,
        question: &Q,
    ) -> Option<(u64, oneshot::Receiver<Answer<A>>)> {
        if !self.pending.has_room(asker.keys()) {
            return None;
        }
        self.pending.take(asker.keys());
        let id = self.next_number();
        let job = self.jobs.entry(question.clone()).or_insert_with(|| Job {
            has_begun: false,
            waiters: HashMap::new(),
        });
        let (answer, receiver) = oneshot::channel();
        let asker = asker.clone();
        if !job.has_begun {
            let turn = self.last;
            let waiting = self.waiting.entry(asker.clone()).or_insert_with(|| {
                self.turns.insert(turn, asker.clone());
                let questions = BTreeMap::new();
                Waiting { turn, questions }
            });
            waiting.questions.insert(id, question.clone());
        }
        job.waiters.insert(id, Waiter { asker, answer });
        Some((id, receiver))
    }

    /// Whoever waited as `id` for `question` has gone.
    pub(super) fn leave(&mut self, question: &Q, id: u64) {
        let Some(job) = self.jobs.get_mut(question) else {
            return;
        };
        let Some(waiter) = job.waiters.remove(&id) else {
            return;
        };
        let (has_begun, is_last) = (job.has_begun, job.waiters.is_empty());
        self.pending.give_back(waiter.asker.keys());
        if !has_begun {
            strike(&mut self.waiting, &mut self.turns, &waiter.asker, id);
            if is_last {
                self.jobs.remove(question);
            }
        }
    }

    /// Begins the job whose turn it is, in the name of whoever is returned.
    pub(super) fn begin(&mut self) -> Option<(Asker, Q)> {
        let mut by_turn = self.turns.values();
        let asker = by_turn.find(|asker| self.running.has_room(asker.keys()))?;
        let asker = asker.clone();
        let waiting = self.waiting.get(&asker)?;
        let question = waiting.questions.values().next()?.clone();

        // It is the next one's turn.
        self.turns.remove(&waiting.turn);
        let turn = self.next_number();
        self.waiting.get_mut(&asker)?.turn = turn;
        self.turns.insert(turn, asker.clone());

        let job = self.jobs.get_mut(&question)?;
        job.has_begun = true;
        for (id, waiter) in &job.waiters {
            strike(&mut self.waiting, &mut self.turns, &waiter.asker, *id);
        }
        self.running.take(asker.keys());
        Some((asker, question))
    }

    /// The job of `question` that was begun for `asker` is done: tells all who wait
    /// for it.
    pub(super) fn end(&mut self, asker: &Asker, question: &Q, answer: Answer<A>) {
        self.running.give_back(asker.keys());
        let waiters = self.jobs.remove(question).map(|job| job.waiters);
        for waiter in waiters.into_iter().flat_map(HashMap::into_values) {
            self.pending.give_back(waiter.asker.keys());
            // Whoever waited may be about to leave.
            let _ = waiter.answer.send(copy(&answer));
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

/// Takes what `asker` has waiting as `id` out of its turn.
fn strike<Q>(
    waiting: &mut HashMap<Asker, Waiting<Q>>,
    turns: &mut BTreeMap<u64, Asker>,
    asker: &Asker,
    id: u64,
) {
    if let Some(own) = waiting.get_mut(asker) {
        own.questions.remove(&id);
        if own.questions.is_empty() {
            turns.remove(&own.turn);
            waiting.remove(asker);
        }
    }
}

fn copy<A: Clone>(answer: &Answer<A>) -> Answer<A> {
    match answer {
        Ok(answer) => Ok(answer.clone()),
        Err(error) => Err(copy_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    type Line = super::Line<String, u8>;

    fn asker(ip: &str) -> Asker {
        let ip: IpAddr = ip.parse().unwrap();
        Asker::of(&Session::new().with_client_addr((ip, 1).into()))
    }

    /// Begins what may begin.
    fn begins(line: &mut Line) -> Vec<String> {
        std::iter::from_fn(|| line.begin())
            .map(|(_, question)| question)
            .collect()
    }

    #[test]
    fn those_who_wait_have_their_turns() {
        let mut line = Line::new(64, 64);
        let (a, b) = (asker("192.0.2.1"), asker("192.0.2.2"));
        let _waiting: Vec<_> = [(&a, "a1"), (&a, "a2"), (&a, "a3"), (&b, "b1"), (&b, "b2")]
            .map(|(asker, name)| line.join(asker, &name.to_owned()).unwrap())
            .into();
        assert_eq!(begins(&mut line), ["a1", "b1", "a2", "b2", "a3"]);
    }

    #[test]
    fn a_network_of_64_bits_is_one_client_and_so_is_an_identity() {
        let joe = |ip: &str| {
            let ip: IpAddr = ip.parse().unwrap();
            let session = Session::new().with_client_addr((ip, 1).into());
            Asker::of(&session.with_identity("joe".into()))
        };
        for (many, most) in [
            (
                (0..9)
                    .map(|n| asker(&format!("2001:db8::{n}")))
                    .collect::<Vec<_>>(),
                4,
            ),
            // However many addresses: each adds less than the one before.
            ((0..9).map(|n| joe(&format!("192.0.2.{n}"))).collect(), 4),
        ] {
            let mut line = Line::new(8, 64);
            let _waiting: Vec<_> = many
                .iter()
                .enumerate()
                .map(|(n, asker)| line.join(asker, &format!("n{n}")))
                .collect();
            assert_eq!(begins(&mut line).len(), most);
            assert!(
                line.join(&asker("198.51.100.1"), &"other".to_owned())
                    .is_some()
            );
            assert_eq!(begins(&mut line), ["other"]);
        }
    }

    #[test]
    fn what_many_ask_is_answered_once_and_all_hear_of_it() {
        let mut line = Line::new(8, 4000);
        let name = "db.example".to_owned();
        let mut receivers = Vec::new();
        for n in 0..500_u32 {
            let ip = std::net::Ipv4Addr::from_bits(n).to_string();
            receivers.push(line.join(&asker(&ip), &name).unwrap().1);
        }
        let (first, begun) = line.begin().unwrap();
        assert_eq!(begun, name);
        assert!(line.begin().is_none());
        // Who comes while it runs joins too.
        receivers.push(line.join(&asker("198.51.100.1"), &name).unwrap().1);
        assert!(line.begin().is_none());

        line.end(&first, &name, Ok(9));
        for mut receiver in receivers {
            assert_eq!(receiver.try_recv().unwrap().unwrap(), 9);
        }
        assert_eq!(line.len(), 0);
    }

    #[test]
    fn a_question_comes_up_at_the_turn_of_whoever_is_first() {
        let mut line = Line::new(8, 64);
        let (a, b) = (asker("192.0.2.1"), asker("192.0.2.2"));
        let _a: Vec<_> = (0..9)
            .map(|n| line.join(&a, &format!("a{n}")).unwrap())
            .collect();
        assert_eq!(begins(&mut line).len(), 4);
        // `a` has its part; but `b` wants one of its names.
        let _b = line.join(&b, &"a8".to_owned()).unwrap();
        assert_eq!(begins(&mut line), ["a8"]);
    }

    #[test]
    fn who_leaves_leaves_nothing() {
        let mut line = Line::new(1, 64);
        let a = asker("192.0.2.1");
        let names: Vec<_> = (0..9).map(|n| format!("a{n}")).collect();
        let joined: Vec<_> = names.iter().map(|n| line.join(&a, n).unwrap()).collect();
        let (first, begun) = line.begin().unwrap();
        for (name, (id, _receiver)) in names.iter().zip(joined) {
            line.leave(name, id);
        }
        // But one that runs.
        assert_eq!(line.len(), 1);
        line.end(&first, &begun, Ok(0));
        assert!(line.jobs.is_empty() && line.waiting.is_empty() && line.turns.is_empty());
        assert!(line.pending.has_room(std::iter::empty()));
    }

    #[test]
    fn a_client_may_have_its_part_of_what_is_pending_and_no_more() {
        let mut line = Line::new(1, 8);
        let join =
            |line: &mut Line, asker: &Asker, n: usize| line.join(asker, &format!("n{n}")).is_some();
        let a = asker("192.0.2.1");
        assert_eq!((0..9).filter(|n| join(&mut line, &a, *n)).count(), 4);
        let b = asker("192.0.2.2");
        assert_eq!((0..9).filter(|n| join(&mut line, &b, *n)).count(), 2);
    }
}
