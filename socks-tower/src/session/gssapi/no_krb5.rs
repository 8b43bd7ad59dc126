//! What stands for the library where its page is made without it.

use super::{Acceptor, Context, GssApiError, Initiator, Wanted};

pub(crate) struct Krb5Acceptor;

impl Krb5Acceptor {
    pub(crate) fn new(_: &str) -> Result<Self, GssApiError> {
        Err("there is no library".into())
    }
}

impl Acceptor for Krb5Acceptor {
    fn context(&self) -> Box<dyn Context> {
        unreachable!("there is none")
    }

    fn unique<'t>(&self, _: &'t [u8]) -> Option<&'t [u8]> {
        None
    }
}

pub(crate) struct Krb5Initiator;

impl Krb5Initiator {
    pub(crate) fn new(_: &str) -> Result<Self, GssApiError> {
        Err("there is no library".into())
    }
}

impl Initiator for Krb5Initiator {
    fn context(&self, _: Wanted) -> Result<Box<dyn Context>, GssApiError> {
        Err("there is no library".into())
    }
}
