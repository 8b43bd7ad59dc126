//! What middleware that lets in, keeps waiting or turns away has in common.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::session::{BoxError, Error};

/// What becomes of a connection.
pub(crate) enum Admission<P> {
    /// It is let in, and holds this.
    Admitted(P),
    /// It is let in, or not, when this is done.
    #[cfg_attr(not(feature = "limit"), expect(dead_code, reason = "limits wait"))]
    Waiting(Pin<Box<dyn Future<Output = Result<P, Error>> + Send>>),
    /// It is turned away.
    Refused(Error),
}

impl<P: Send + 'static> Admission<P> {
    /// Calls `inner`, which is ready, with `passing` if and when it is let in.
    pub(crate) fn enter<T, S>(self, inner: &mut S, passing: T) -> Admitted<S::Future, P>
    where
        T: Send + 'static,
        S: Service<T, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static,
    {
        match self {
            Self::Admitted(permit) => Admitted::Inside {
                inner: inner.call(passing),
                permit,
            },
            Self::Waiting(wait) => {
                // The one that is ready goes along; its clone may not be.
                let unready = inner.clone();
                let mut inner = mem::replace(inner, unready);
                let outside = Box::pin(async move {
                    let permit = wait.await?;
                    Ok((inner.call(passing), permit))
                });
                Admitted::Outside { outside }
            }
            Self::Refused(error) => Admitted::Refused { error: Some(error) },
        }
    }
}

pin_project! {
    /// The future of what was called, with what it holds meanwhile.
    #[project = AdmittedProjection]
    pub(crate) enum Admitted<F, P> {
        Outside { outside: Pin<Box<dyn Future<Output = Result<(F, P), Error>> + Send>> },
        Inside { #[pin] inner: F, permit: P },
        Refused { error: Option<Error> },
    }
}

impl<F, P: Default> Admitted<F, P> {
    /// Gives the permit with the answer: it is for the caller to drop or to
    /// hand on.
    pub(crate) fn poll_with_permit<R, E>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(R, P), Error>>
    where
        F: Future<Output = Result<R, E>>,
        E: Into<BoxError>,
    {
        loop {
            match self.as_mut().project() {
                AdmittedProjection::Outside { outside } => {
                    let (inner, permit) = ready!(outside.as_mut().poll(cx))?;
                    self.set(Self::Inside { inner, permit });
                }
                AdmittedProjection::Inside { inner, permit } => {
                    let done = ready!(inner.poll(cx)).map_err(Error::passed);
                    let permit = mem::take(permit);
                    return Poll::Ready(done.map(|response| (response, permit)));
                }
                AdmittedProjection::Refused { error } => {
                    return match error.take() {
                        Some(error) => Poll::Ready(Err(error)),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }
}

impl<F, R, E> Future for Admitted<F, ()>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxError>,
{
    type Output = Result<R, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (response, ()) = ready!(self.poll_with_permit(cx))?;
        Poll::Ready(Ok(response))
    }
}
