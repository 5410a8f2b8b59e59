//! Changing the elements of a tensor in place.

use std::any::Any;
use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use super::cpu::Real;

/// Runs `f` on the elements of a contiguous tensor on CPU, which it may change. Nothing else may hold the tensor.
pub(crate) fn with_slice_mut<T: Real, R>(tensor: &Tensor, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
    let (f, result) = (Cell::new(Some(f)), Cell::new(None));
    let change = |storage: &mut CpuStorage, layout: &Layout| {
        let elements = elements::<T>(storage).zip(layout.contiguous_offsets()).zip(f.take());
        result.set(elements.map(|((elements, (start, end)), f)| f(&mut elements[start..end])));
    };
    tensor.inplace_op1(&Change(change))?;
    match result.take() {
        Some(result) => Ok(result),
        None => bail!("an operator needs a contiguous tensor of {:?}, got {:?}", T::DTYPE, tensor.dtype()),
    }
}

fn elements<T: Real>(storage: &mut CpuStorage) -> Option<&mut Vec<T>> {
    match storage {
        CpuStorage::F32(elements) => (elements as &mut dyn Any).downcast_mut(),
        CpuStorage::F64(elements) => (elements as &mut dyn Any).downcast_mut(),
        _ => None,
    }
}

/// candle hands out elements to change to operators alone.
struct Change<F>(F);

impl<F: Fn(&mut CpuStorage, &Layout)> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "in_place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        (self.0)(storage, layout);
        Ok(())
    }
}
