//! What counts or remembers, and outlives a reload.

use std::{any::Any, borrow::Cow, collections::HashMap, convert::Infallible, fmt, mem};

/// Limits, caches and the like of one configuration, for the next.
#[derive(Default)]
pub struct Kept {
    /// By key, with what it was made of.
    earlier: HashMap<Cow<'static, str>, (String, Box<dyn Any + Send>)>,
    now: HashMap<Cow<'static, str>, (String, Box<dyn Any + Send>)>,
}

impl Kept {
    /// What was made for `key` before, if it was made of the same; else what `make` makes,
    /// which counts anew. A secret has to be `revealed` among what it is made of: another
    /// password looks the same hidden.
    pub fn or_made<T: Clone + Send + 'static>(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        made_of: impl fmt::Debug,
        make: impl FnOnce() -> T,
    ) -> T {
        let made: Result<T, Infallible> = self.or_try_made(key, made_of, || Ok(make()));
        let Ok(value) = made;
        value
    }

    /// As [`or_made`](Self::or_made), of what can fail.
    pub fn or_try_made<T: Clone + Send + 'static, E>(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        made_of: impl fmt::Debug,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let (key, made_of) = (key.into(), format!("{made_of:?}"));
        let earlier = self.earlier.get(&key);
        let same = earlier.filter(|(of, _)| *of == made_of);
        let value: Option<&T> = same.and_then(|(_, value)| value.downcast_ref());
        let value = match value {
            Some(value) => value.clone(),
            None => make()?,
        };
        self.now.insert(key, (made_of, Box::new(value.clone())));
        Ok(value)
    }

    /// The configuration is in effect: what it has no use for is forgotten.
    pub fn commit(&mut self) {
        self.earlier = mem::take(&mut self.now);
    }

    /// It is not: all is as before.
    pub fn roll_back(&mut self) {
        self.now.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_made_of_the_same_is_the_same_until_nobody_wants_it() {
        let mut kept = Kept::default();
        let mut of = |number: u32| kept_or_new(&mut kept, number);
        let first = of(1);
        assert!(Arc::ptr_eq(&first, &of(1)));
        let other = of(2);
        assert!(!Arc::ptr_eq(&first, &other));

        // A reload that fails changes nothing.
        kept.or_made("key", 3, || Arc::new(()));
        kept.roll_back();
        assert!(Arc::ptr_eq(&other, &kept_or_new(&mut kept, 2)));

        kept.commit();
        assert!(!Arc::ptr_eq(&other, &kept_or_new(&mut kept, 2)));
    }

    fn kept_or_new(kept: &mut Kept, of: u32) -> Arc<()> {
        let value = kept.or_made("key", of, || Arc::new(()));
        kept.commit();
        value
    }
}
