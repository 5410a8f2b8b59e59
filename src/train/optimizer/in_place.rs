//! In-place updates of f32 tensors on CPU: one pass over memory, on all threads, with the widest vector instructions of
//! the machine. Each element is computed independently, so the number of threads does not change the result.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};

/// Elements per task: few enough for the cache of a core, enough to be worth a task.
pub(crate) const CHUNK: usize = 1 << 14;

/// Whether the functions of this file support the tensor.
pub(crate) fn applies_to(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Calls `f` with the elements of a contiguous tensor, to modify them.
pub(crate) fn change(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Once(Cell::new(Some(f))))
}

/// Calls `f` with the elements of two contiguous tensors, to modify those of the first.
pub(crate) fn change_by(tensor: &Tensor, by: &Tensor, f: impl FnOnce(&mut [f32], &[f32])) -> Result<()> {
    tensor.inplace_op2(by, &OnceBy(Cell::new(Some(f))))
}

/// A function that candle calls once, as an operation.
struct Once<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Once<F> {
    fn name(&self) -> &'static str {
        "optimizer-change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let f = self.0.take().expect("an operation is applied once");
        f(elements_mut(storage, layout)?)
    }
}

/// Like [`Once`], for two tensors.
struct OnceBy<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32], &[f32])> InplaceOp2 for OnceBy<F> {
    fn name(&self) -> &'static str {
        "optimizer-change-by"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let f = self.0.take().expect("an operation is applied once");
        f(elements_mut(s1, l1)?, elements(s2, l2)?);
        Ok(())
    }
}

fn elements_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(numbers), Some((start, end))) => Ok(&mut numbers[start..end]),
        _ => bail!("a tensor of the optimizer is not contiguous f32"),
    }
}

/// The elements of a contiguous f32 tensor.
pub(crate) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(numbers), Some((start, end))) => Ok(&numbers[start..end]),
        _ => bail!("a gradient is not contiguous f32"),
    }
}
