use tower_service::Service;

use crate::session::{
    BoxError, BoxWork, Judged, Pinned, Refusal, Request, Work, always_ready, opaque_future,
};

/// A judge of what goes through an upstream: of BIND's peers, and of the destinations of
/// datagrams.
///
/// `J` says what the upstream is told. [`NameRules`](crate::NameRules), or any
/// [`Authorizer`](crate::Authorizer) of a target, leaves a name to the upstream; a
/// [`Judge`](crate::Judge) looks it up, and the upstream is told an address.
#[derive(Clone, Debug)]
pub struct Told<J> {
    judge: J,
}

impl<J> Told<J> {
    /// Asks `judge`.
    #[must_use]
    pub fn new(judge: J) -> Self {
        Self { judge }
    }
}

opaque_future! {
    /// The future of [`Told`].
    ToldFuture<> -> Result<Request<Pinned>, BoxError> = BoxWork<Request<Pinned>>
}

impl<J: Work<Request, Response: Judged>> Service<Request> for Told<J> {
    type Response = Request<Pinned>;
    type Error = BoxError;
    type Future = ToldFuture;

    always_ready!();

    fn call(&mut self, request: Request) -> Self::Future {
        let judging = self.judge.clone().run(request);
        ToldFuture::new(Box::pin(async move {
            let told = judging.await?.into_told();
            // Without addresses it would be told by name.
            told.ok_or_else(|| Refusal::not_allowed("no address is left").into())
        }))
    }
}
