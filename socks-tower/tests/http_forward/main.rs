//! Plain HTTP requests on connections that are kept, each asked about anew.

#![expect(clippy::unwrap_used, reason = "a test")]

mod asked;
mod told;
mod world;
