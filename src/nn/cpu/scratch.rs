//! Room for intermediate numbers, kept between operators: asking the system for fresh pages at every step
//! costs as much as a transform.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers of any value, to be overwritten before they are read; given back when dropped.
pub(crate) struct Scratch {
    buffer: Vec<f32>,
    len: usize,
}

impl Scratch {
    /// Room for `len` numbers.
    pub(crate) fn new(len: usize) -> Self {
        let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0.0);
        }
        Self { buffer, len }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        KEPT.with_borrow_mut(|kept| kept.push(buffer));
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_was_given_back_is_used_again() {
        let first = Scratch::new(100);
        let address = first.as_ptr();
        drop(first);
        let again = Scratch::new(50);
        assert_eq!((again.as_ptr(), again.len()), (address, 50));
        assert_ne!(Scratch::new(100).as_ptr(), address, "room in use is not given out");
    }
}
