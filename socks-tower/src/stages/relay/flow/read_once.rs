//! Elsewhere than on Linux, a read is a read.

pub(super) use super::plain_read as poll_read;
