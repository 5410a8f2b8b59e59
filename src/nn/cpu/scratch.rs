//! Room for intermediate numbers, kept between operators: asking the system for fresh pages at every step
//! costs as much as a transform.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, cast_slice, cast_slice_mut};

thread_local! {
    /// 64 bits wide, so that every type of numbers is aligned.
    static KEPT: RefCell<Vec<Vec<u64>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers of any value, to be overwritten before they are read; given back when dropped.
pub(crate) struct Scratch<T> {
    buffer: Vec<u64>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> Scratch<T> {
    /// Room for `len` numbers.
    pub(crate) fn new(len: usize) -> Self {
        let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        let words = (len * size_of::<T>()).div_ceil(size_of::<u64>());
        if buffer.len() < words {
            buffer.resize(words, 0);
        }
        Self { buffer, len, numbers: PhantomData }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        KEPT.with_borrow_mut(|kept| kept.push(buffer));
    }
}

impl<T: Pod> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &cast_slice(&self.buffer)[..self.len]
    }
}

impl<T: Pod> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut cast_slice_mut(&mut self.buffer)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_was_given_back_is_used_again() {
        let first = Scratch::<f32>::new(100);
        let address = first.as_ptr();
        drop(first);
        let again = Scratch::<f32>::new(50);
        assert_eq!((again.as_ptr(), again.len()), (address, 50));
        assert_ne!(Scratch::<f32>::new(100).as_ptr(), address, "room in use is not given out");
    }
}
