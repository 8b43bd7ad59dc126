//! The values of one condition, found as fast among ten thousand as among ten.

use std::{collections::HashMap, fmt, hash::Hash, mem, slice, sync::OnceLock};

use crate::session::Identity;

/// As many are asked one by one: that is faster than any table.
pub(crate) const FEW: usize = 4;

/// A value that a table finds.
pub(crate) trait Value {
    /// What it is filed under. Values with the same key hold for the same.
    type Key: Hash + Eq;
    /// What it is compared with.
    type Asked: ?Sized;
    type Table: From<HashMap<Self::Key, Numbers>>;

    fn key(&self) -> Self::Key;

    fn holds(&self, asked: &Self::Asked) -> bool;

    /// What is filed under each value that holds for `asked`.
    fn find<'a>(
        table: &'a Self::Table,
        asked: &Self::Asked,
    ) -> impl Iterator<Item = &'a [u32]> + use<'a, Self>;
}

/// Numbers of rules, ascending. Most values are of one rule, so others are kept
/// elsewhere: two entries of a table fit into a cache line.
#[derive(Clone, Debug, Default)]
pub(crate) enum Numbers {
    #[default]
    None,
    One(u32),
    #[expect(clippy::box_collection, reason = "half as large as a Vec")]
    More(Box<Vec<u32>>),
}

impl Numbers {
    /// Adds `number`, which is not below the last one.
    pub(crate) fn push(&mut self, number: u32) {
        match self {
            Self::None => *self = Self::One(number),
            // One rule may name a value twice.
            Self::One(last) if *last == number => {}
            Self::One(first) => *self = Self::More(Box::new(vec![*first, number])),
            Self::More(numbers) if numbers.last() == Some(&number) => {}
            Self::More(numbers) => numbers.push(number),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(number) => slice::from_ref(number),
            Self::More(numbers) => numbers,
        }
    }
}

/// Alternatives, of which one has to hold. Most rules have one, so that one is
/// kept without a detour through memory.
#[derive(Clone, Default)]
pub(crate) enum Values<V: Value> {
    #[default]
    None,
    One(V),
    More(Box<Many<V>>),
}

pub(crate) struct Many<V: Value> {
    list: Vec<V>,
    /// Made when it is first needed.
    table: OnceLock<Box<V::Table>>,
}

impl<V: Value> Values<V> {
    pub(crate) fn push(&mut self, value: V) {
        *self = match mem::take(self) {
            Self::None => Self::One(value),
            Self::One(first) => Self::More(Box::new(Many::of(vec![first, value]))),
            Self::More(mut many) => {
                many.list.push(value);
                many.table = OnceLock::new();
                Self::More(many)
            }
        };
    }

    pub(crate) fn list(&self) -> &[V] {
        match self {
            Self::None => &[],
            Self::One(value) => slice::from_ref(value),
            Self::More(many) => &many.list,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn any_holds(&self, asked: &V::Asked) -> bool {
        match self {
            Self::None => false,
            Self::One(value) => value.holds(asked),
            Self::More(many) => many.any_holds(asked),
        }
    }

    /// Makes the table, if there is to be one.
    pub(crate) fn prepare(&self) {
        if let Self::More(many) = self
            && many.list.len() > FEW
        {
            many.table();
        }
    }
}

impl<V: Value> Many<V> {
    fn of(list: Vec<V>) -> Self {
        Self {
            list,
            table: OnceLock::new(),
        }
    }

    fn any_holds(&self, asked: &V::Asked) -> bool {
        if self.list.len() <= FEW {
            return self.list.iter().any(|value| value.holds(asked));
        }
        V::find(self.table(), asked).next().is_some()
    }

    fn table(&self) -> &V::Table {
        self.table.get_or_init(|| {
            let keys = self.list.iter().map(V::key);
            let found: HashMap<_, _> = keys.map(|key| (key, Numbers::One(0))).collect();
            Box::new(found.into())
        })
    }
}

/// A copy is made to be added to, so the table is left behind.
impl<V: Value + Clone> Clone for Many<V> {
    fn clone(&self) -> Self {
        Self::of(self.list.clone())
    }
}

impl<V: Value + fmt::Debug> fmt::Debug for Values<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list().fmt(f)
    }
}

impl Value for Identity {
    type Key = Self;
    type Asked = Self;
    type Table = HashMap<Self, Numbers>;

    fn key(&self) -> Self {
        self.clone()
    }

    fn holds(&self, asked: &Self) -> bool {
        self == asked
    }

    fn find<'a>(table: &'a Self::Table, asked: &Self) -> impl Iterator<Item = &'a [u32]> + use<'a> {
        table.get(asked).map(Numbers::as_slice).into_iter()
    }
}
