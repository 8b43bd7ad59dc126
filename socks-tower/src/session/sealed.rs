use crate::session::{Outbound, Stream, Transfer};

/// Keeps a trait ours: nobody else can name this.
#[expect(unnameable_types, reason = "that is how a trait is sealed")]
pub trait Sealed {}

impl<T: Stream> Sealed for T {}

impl<T: Stream> Sealed for Outbound<T> {}

impl Sealed for Transfer {}
