//! A tensor in a file's bytes, copied on demand.

use candle_core::{DType, Device, Tensor};

/// A view of elements of a storage, as in PyTorch: element `(i, j, …)` is number
/// `offset + i · strides[0] + j · strides[1] + …` of the storage. Nothing is checked before it is read.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    /// The storage's bytes, little-endian.
    pub(super) storage: &'a [u8],
    /// Type of the elements, and its name for messages; `None` if it is not supported.
    pub(super) dtype: (Option<DType>, String),
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl View<'_> {
    /// The elements, which are copied. Takes as much memory as they do, so check the shape before.
    ///
    /// # Errors
    /// The type is not supported, or elements lie outside of the storage.
    pub(super) fn read(&self) -> Result<Tensor, String> {
        let (Some(dtype), _) = &self.dtype else {
            return Err(format!("has elements of type {}; save it as float32", self.dtype.1));
        };
        let outside = || "has elements outside of its storage; the file is damaged".to_owned();
        let size = dtype.size_in_bytes();
        let (count, end) = self.extent().ok_or_else(outside)?;
        let length =
            end.checked_mul(size).filter(|length| *length <= self.storage.len()).ok_or_else(outside)?;
        let bytes = match contiguous(&self.shape).as_ref() == Some(&self.strides) || count == 0 {
            true => self.storage[length - count * size..length].to_vec(),
            false => self.gathered(count, size),
        };
        Tensor::from_raw_buffer(&bytes, *dtype, &self.shape, &Device::Cpu).map_err(|error| error.to_string())
    }

    /// The number of elements, and one more than the position of the last one in the storage; `None` beyond measure.
    fn extent(&self) -> Option<(usize, usize)> {
        let count = self.shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length))?;
        if self.strides.len() != self.shape.len() {
            return None;
        }
        if count == 0 {
            return Some((0, 0));
        }
        let steps =
            self.shape.iter().zip(&self.strides).map(|(length, stride)| (length - 1).checked_mul(*stride));
        let last = steps.into_iter().try_fold(self.offset, |last, step| last.checked_add(step?))?;
        Some((count, last.checked_add(1)?))
    }

    /// The elements in row-major order; all lie in the storage.
    fn gathered(&self, count: usize, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count * size);
        let mut at = vec![0; self.shape.len()];
        for _ in 0..count {
            let position: usize = at.iter().zip(&self.strides).map(|(at, stride)| at * stride).sum();
            let start = (self.offset + position) * size;
            bytes.extend_from_slice(&self.storage[start..start + size]);
            advance(&mut at, &self.shape);
        }
        bytes
    }
}

/// The next index in row-major order.
fn advance(at: &mut [usize], shape: &[usize]) {
    for (at, length) in at.iter_mut().zip(shape).rev() {
        *at += 1;
        if *at < *length {
            return;
        }
        *at = 0;
    }
}

/// The strides of a tensor in row-major order; `None` beyond measure.
pub(super) fn contiguous(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].checked_mul(shape[i])?;
    }
    Some(strides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(storage: &'a [u8], offset: usize, shape: &[usize], strides: &[usize]) -> View<'a> {
        View {
            storage,
            dtype: (Some(DType::U8), "uint8".into()),
            offset,
            shape: shape.into(),
            strides: strides.into(),
        }
    }

    #[test]
    fn elements_are_found_by_offset_and_strides() {
        let storage = [0, 1, 2, 3, 4, 5, 6];
        let read = |offset, shape: &[usize], strides: &[usize]| {
            view(&storage, offset, shape, strides)
                .read()
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<u8>()
                .unwrap()
        };
        assert_eq!(read(1, &[2, 3], &[3, 1]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(read(1, &[3, 2], &[1, 3]), [1, 4, 2, 5, 3, 6], "transposed");
        assert_eq!(read(0, &[3], &[2]), [0, 2, 4]);
        assert_eq!(read(6, &[], &[]), [6]);
        assert_eq!(read(9, &[0, 3], &[3, 1]), [0; 0]);
        assert_eq!(read(2, &[2, 2], &[0, 1]), [2, 3, 2, 3], "expanded");
    }

    #[test]
    fn f19_elements_outside_of_the_storage_are_an_error_whatever_overflows() {
        let cases: [(usize, &[usize], &[usize]); 6] = [
            (6, &[2], &[1]),
            (1 << 62, &[1], &[1]),
            (usize::MAX, &[2], &[1]),
            (0, &[2, 2], &[usize::MAX, usize::MAX]),
            (0, &[usize::MAX, 2], &[0, 1]),
            (0, &[2, 2], &[1]),
        ];
        for (offset, shape, strides) in cases {
            let error = view(&[0; 7], offset, shape, strides).read().unwrap_err();
            assert!(error.contains("outside of its storage"), "{offset} {shape:?} {strides:?}: {error}");
        }
    }
}
