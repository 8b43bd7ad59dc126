//! The values of one condition, found as fast among ten thousand as among ten.

use std::{collections::HashMap, fmt, hash::Hash, slice, sync::OnceLock};

use crate::Identity;

/// As many are asked one by one: that is faster than any table.
pub(super) const FEW: usize = 4;

/// A value that a table finds.
pub(super) trait Value {
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
    ) -> impl Iterator<Item = &'a [usize]> + use<'a, Self>;
}

/// Numbers of rules, ascending. Most values are of one rule.
#[derive(Clone, Debug, Default)]
pub(super) enum Numbers {
    #[default]
    None,
    One(usize),
    More(Vec<usize>),
}

impl Numbers {
    /// Adds `number`, which is not below the last one.
    pub(super) fn push(&mut self, number: usize) {
        match self {
            Self::None => *self = Self::One(number),
            // One rule may name a value twice.
            Self::One(last) if *last == number => {}
            Self::One(first) => *self = Self::More(vec![*first, number]),
            Self::More(numbers) if numbers.last() == Some(&number) => {}
            Self::More(numbers) => numbers.push(number),
        }
    }

    pub(super) fn as_slice(&self) -> &[usize] {
        match self {
            Self::None => &[],
            Self::One(number) => slice::from_ref(number),
            Self::More(numbers) => numbers,
        }
    }
}

/// Alternatives, of which one has to hold. The table is made when it is first
/// needed.
pub(super) struct Values<V: Value> {
    list: Vec<V>,
    table: OnceLock<Box<V::Table>>,
}

impl<V: Value> Values<V> {
    pub(super) fn push(&mut self, value: V) {
        self.list.push(value);
        self.table = OnceLock::new();
    }

    pub(super) fn list(&self) -> &[V] {
        &self.list
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn any_holds(&self, asked: &V::Asked) -> bool {
        if self.list.len() <= FEW {
            return self.list.iter().any(|value| value.holds(asked));
        }
        V::find(self.table(), asked).next().is_some()
    }

    /// Makes the table, if there is to be one.
    pub(super) fn prepare(&self) {
        if self.list.len() > FEW {
            self.table();
        }
    }

    fn table(&self) -> &V::Table {
        self.table.get_or_init(|| {
            let keys = self.list.iter().map(V::key);
            let found: HashMap<_, _> = keys.map(|key| (key, Numbers::One(0))).collect();
            Box::new(found.into())
        })
    }
}

impl<V: Value> Default for Values<V> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            table: OnceLock::new(),
        }
    }
}

/// A copy is made to be added to, so the table is left behind.
impl<V: Value + Clone> Clone for Values<V> {
    fn clone(&self) -> Self {
        Self {
            list: self.list.clone(),
            table: OnceLock::new(),
        }
    }
}

impl<V: Value + fmt::Debug> fmt::Debug for Values<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.fmt(f)
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

    fn find<'a>(
        table: &'a Self::Table,
        asked: &Self,
    ) -> impl Iterator<Item = &'a [usize]> + use<'a> {
        table.get(asked).map(Numbers::as_slice).into_iter()
    }
}
