use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower::{ServiceExt, util::Oneshot};
use tower_service::Service;

use super::{NameRules, Rules};
use crate::session::always_ready;

/// Rules that can be replaced while they serve: an authorizer, and the handle
/// to it. See the [module's page](crate::works::authorize#reloading).
///
/// Clones share the rules. A request is judged, with all addresses of its
/// target, by the rules that stand when it comes; what it was granted, it
/// keeps. So a tunnel outlives the rules that let it through, while each new
/// destination of a UDP association, and the peer that a BIND waited for, are
/// judged by the rules of their own time.
#[derive(Clone)]
pub struct ReloadRules<R = Rules> {
    current: Arc<RwLock<R>>,
}

/// Rules that [`ReloadRules`] can hold: [`Rules`], [`NameRules`], or an
/// authorizer of your own.
///
/// Each request clones them, so that should be cheap.
pub trait RuleSet: Clone {
    /// Does now what would hold up the first request: nothing, unless it is
    /// told otherwise.
    fn prepare(&self) {}
}

impl RuleSet for Rules {
    /// Builds the index.
    fn prepare(&self) {
        self.build_index();
    }
}

impl RuleSet for NameRules {
    /// Builds the index.
    fn prepare(&self) {
        self.rules.build_index();
    }
}

impl<R: RuleSet> ReloadRules<R> {
    /// Begins with `rules`.
    pub fn new(rules: R) -> Self {
        rules.prepare();
        Self {
            current: Arc::new(RwLock::new(rules)),
        }
    }

    /// Judges by `rules` from now on.
    ///
    /// It builds their index first, which takes milliseconds for tens of
    /// thousands of them; until it is done requests go on by the old ones.
    pub fn replace(&self, rules: R) {
        rules.prepare();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, rules);
        // To free them takes a while, too: let requests in first.
        drop(current);
        drop(old);
    }

    /// The rules that stand now.
    #[must_use]
    pub fn current(&self) -> R {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl<R: RuleSet + fmt::Debug> fmt::Debug for ReloadRules<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReloadRules").field(&self.current()).finish()
    }
}

impl<R: RuleSet + Service<Q>, Q> Service<Q> for ReloadRules<R> {
    type Response = R::Response;
    type Error = R::Error;
    type Future = ReloadRulesFuture<R, Q>;

    always_ready!();

    fn call(&mut self, request: Q) -> Self::Future {
        ReloadRulesFuture {
            inner: self.current().oneshot(request),
        }
    }
}

pin_project! {
    /// The future of [`ReloadRules`].
    #[must_use = "futures do nothing unless polled"]
    pub struct ReloadRulesFuture<R, Q>
    where
        R: Service<Q>,
    {
        #[pin]
        inner: Oneshot<R, Q>,
    }
}

impl<R: Service<Q>, Q> Future for ReloadRulesFuture<R, Q> {
    type Output = Result<R::Response, R::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl<R: Service<Q>, Q> fmt::Debug for ReloadRulesFuture<R, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReloadRulesFuture(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use socks_core::{Target, v5::Command};

    use super::*;
    use crate::{
        session::{Pinned, Request, Session},
        works::authorize::Match,
    };

    fn to<T>(target: T) -> Request<T> {
        Request::new(Session::new(), Command::CONNECT, target)
    }

    fn addr() -> SocketAddr {
        "192.0.2.1:80".parse().unwrap()
    }

    #[tokio::test]
    async fn all_clones_judge_by_the_new_rules_from_the_next_request_on() {
        let handle = ReloadRules::new(Rules::new());
        let authorizer = handle.clone();
        let granted = authorizer.clone().oneshot(to(Pinned::from(addr()))).await;
        let granted = granted.unwrap();

        handle.replace(Rules::new().deny(Match::any().port(80)));
        assert!(authorizer.clone().oneshot(granted).await.is_err());

        handle.replace(Rules::new());
        let authorizer = authorizer.oneshot(to(Pinned::from(addr())));
        assert!(authorizer.await.is_ok());
    }

    #[tokio::test]
    async fn a_request_that_has_come_is_judged_by_the_rules_it_met() {
        let mut rules = ReloadRules::new(Rules::new());
        let verdict = rules.call(to(Pinned::from(addr())));
        rules.replace(Rules::new().deny_by_default());
        assert!(verdict.await.is_ok());
    }

    #[tokio::test]
    async fn rules_about_names_are_replaced_as_well() {
        let handle = ReloadRules::new(NameRules::new(Rules::new()));
        let target: Target = "printer.local:80".parse().unwrap();
        assert!(handle.clone().oneshot(to(target.clone())).await.is_err());
        let lifted = handle.current().permit_local("local".parse().unwrap());
        handle.replace(lifted);
        assert!(handle.clone().oneshot(to(target)).await.is_ok());
    }

    #[tokio::test]
    async fn an_authorizer_of_ones_own_can_be_replaced() {
        #[derive(Clone)]
        struct Ports(u16);

        impl RuleSet for Ports {}

        impl Service<Request<Pinned>> for Ports {
            type Response = Request<Pinned>;
            type Error = &'static str;
            type Future = std::future::Ready<Result<Request<Pinned>, &'static str>>;

            always_ready!();

            fn call(&mut self, request: Request<Pinned>) -> Self::Future {
                let passes = request.target.target().port == self.0;
                std::future::ready(passes.then_some(request).ok_or("another port"))
            }
        }

        let handle = ReloadRules::new(Ports(80));
        let ask = || handle.clone().oneshot(to(Pinned::from(addr())));
        assert!(ask().await.is_ok());
        handle.replace(Ports(443));
        assert_eq!(ask().await.unwrap_err(), "another port");
    }
}
