//! Buffers for intermediate results, reused between operators: requesting fresh pages from the system at every step
//! costs as much as a transform.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, cast_slice, cast_slice_mut};

thread_local! {
    /// Buffers of u64, so that every element type is aligned.
    static KEPT: RefCell<Vec<Vec<u64>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer with arbitrary contents, to be overwritten before it is read; returned for reuse when dropped.
pub(crate) struct Scratch<T> {
    buffer: Vec<u64>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Pod> Scratch<T> {
    /// A buffer of `len` elements.
    pub(crate) fn new(len: usize) -> Self {
        let mut buffer = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
        let words = (len * size_of::<T>()).div_ceil(size_of::<u64>());
        if buffer.len() < words {
            buffer.resize(words, 0);
        }
        Self { buffer, len, element: PhantomData }
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
    fn a_dropped_buffer_is_reused() {
        let first = Scratch::<f32>::new(100);
        let address = first.as_ptr();
        drop(first);
        let again = Scratch::<f32>::new(50);
        assert_eq!((again.as_ptr(), again.len()), (address, 50));
        assert_ne!(Scratch::<f32>::new(100).as_ptr(), address, "a buffer in use is not handed out");
    }
}
