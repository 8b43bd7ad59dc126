//! The buffer that every tunnel of a thread reads into.

use std::cell::Cell;

/// Bytes in the buffer. A larger one costs less CPU per byte, up to here.
pub(super) const LEN: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends the thread's buffer to `work`. Its contents are left over from others.
pub(super) fn with<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    // Taken out while in use: a stream may itself relay when it is read, and
    // then finds none and gets one of its own.
    let spare = SPARE.try_with(Cell::take).ok().flatten();
    let mut buffer = spare.unwrap_or_else(|| vec![0; LEN].into_boxed_slice());
    let result = work(&mut buffer);
    // A thread that is ending has no place for it any more.
    let _ = SPARE.try_with(|place| place.set(Some(buffer)));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_one_buffer() {
        let first = with(|buffer| buffer.as_ptr());
        assert_eq!(first, with(|buffer| buffer.as_ptr()));
    }

    #[test]
    fn a_relay_within_a_relay_has_a_buffer_of_its_own() {
        with(|outer| {
            outer[0] = 1;
            with(|inner| inner[0] = 2);
            assert_eq!(outer[0], 1);
        });
    }

    #[test]
    fn a_panic_while_reading_costs_the_buffer_alone() {
        let caught = std::panic::catch_unwind(|| with(|_| panic!("a broken stream")));
        assert!(caught.is_err());
        assert_eq!(with(|buffer| buffer.len()), LEN);
    }
}
