//! Memory for results that is not zeroed first, which would be a pass over memory for nothing.
//!
//! The only place where elements come into being without a value. In tests, and in builds with debug assertions, the
//! memory is poisoned before a kernel sees it, so that an element that is never written, or that is computed from one
//! that was not written yet, stops the test.

use std::mem::MaybeUninit;

use super::Real;

/// Whether rooms are poisoned and checked.
const CHECKED: bool = cfg!(any(test, debug_assertions));

/// All bits set: a NaN that no operation on other numbers gives, and that arithmetic passes on.
const POISON: u8 = 0xff;

/// Room for elements that will all be written.
pub(super) struct Room<T> {
    elements: Vec<T>,
    len: usize,
}

impl<T: Real> Room<T> {
    /// Room for `len` elements.
    pub(super) fn new(len: usize) -> Self {
        let mut room = Self { elements: Vec::with_capacity(len), len };
        if CHECKED {
            room.parts().fill(MaybeUninit::new(poison()));
        }
        room
    }

    /// The room, to divide among threads.
    pub(super) fn parts(&mut self) -> &mut [MaybeUninit<T>] {
        &mut self.elements.spare_capacity_mut()[..self.len]
    }

    /// The elements.
    ///
    /// # Safety
    /// Every element was written.
    pub(super) unsafe fn written(mut self) -> Vec<T> {
        // SAFETY: there is room for `len` elements, and the caller promises that each has a value.
        unsafe { self.elements.set_len(self.len) };
        if CHECKED {
            let unwritten = self.elements.iter().position(is_poison);
            assert_eq!(unwritten, None, "an element of {} was not written", self.len);
        }
        self.elements
    }
}

/// Casts uninitialized memory to elements.
///
/// # Safety
/// No element is read before it is written.
pub(super) unsafe fn to_be_written<T: Real>(room: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: `MaybeUninit<T>` has the layout of `T`, which is plain data without invalid values; the caller promises
    // to write elements before reading them, so no value is made of memory without one.
    unsafe { &mut *(std::ptr::from_mut(room) as *mut [T]) }
}

fn poison<T: Real>() -> T {
    let mut element = T::zero();
    bytemuck::bytes_of_mut(&mut element).fill(POISON);
    element
}

fn is_poison<T: Real>(element: &T) -> bool {
    bytemuck::bytes_of(element).iter().all(|&byte| byte == POISON)
}

#[cfg(test)]
mod tests {
    use super::super::written_by_pieces;

    #[test]
    fn f23_elements_written_in_pieces_are_the_result() {
        let square = |i: usize, piece: &mut [f32]| {
            piece.iter_mut().enumerate().for_each(|(j, element)| *element = (3 * i + j).pow(2) as f32);
        };
        // SAFETY: each piece is written, and none is read.
        let squares = unsafe { written_by_pieces(8, 3, square) };
        assert_eq!(squares, [0., 1., 4., 9., 16., 25., 36., 49.]);
        // SAFETY: there is nothing to write.
        assert!(unsafe { written_by_pieces(0, 3, square) }.is_empty());
    }

    #[test]
    #[should_panic(expected = "an element of 8 was not written")]
    fn f23_an_element_that_is_not_written_is_noticed() {
        // SAFETY: tests fill the room with a value, so nothing is read that has none.
        unsafe { written_by_pieces(8, 3, |_, piece: &mut [f32]| piece[1..].fill(1.0)) };
    }

    #[test]
    #[should_panic(expected = "an element of 4 was not written")]
    fn f23_an_element_that_is_read_before_it_is_written_is_noticed() {
        // SAFETY: tests fill the room with a value, so nothing is read that has none.
        unsafe {
            written_by_pieces(4, 4, |_, piece: &mut [f64]| {
                piece.iter_mut().for_each(|element| *element += 1.0);
            })
        };
    }
}
