//! Helpers shared by tests of operators, here and in other crates (feature `testing`).

use std::cell::Cell;

use candle_core::{DType, Device, Tensor};

thread_local! {
    /// Whether the operators for GPUs run on the CPU, too.
    static FORCED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the operators for GPUs, their kernels on the CPU.
pub fn as_on_a_gpu<R>(f: impl FnOnce() -> R) -> R {
    FORCED.set(true);
    let result = f();
    FORCED.set(false);
    result
}

/// A random f64 tensor, with elements of both signs.
pub fn random_tensor(seed: u64, shape: &[usize]) -> Tensor {
    let value = |i: usize| (i as f64 * 0.7 + seed as f64 * 3.1).sin() * 1.5;
    let values: Vec<f64> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Number of kernels that this thread launched so far.
pub fn launches() -> usize {
    crate::cuda::launches()
}

/// Runs `f` with the threads of a block of kernels in another order: `stride`, odd, apart.
pub fn order_of_threads<R>(stride: u32, f: impl FnOnce() -> R) -> R {
    crate::cuda::order_of_threads(stride, f)
}

/// Panics unless both agree to within 1e-9 of the largest expected magnitude.
pub fn assert_close(what: &str, actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let of = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (actual, expected) = (of(actual), of(expected));
    // Some gradients are 0 up to rounding: batch norm cancels them.
    let largest = expected.iter().fold(1e-2f64, |m, x| m.max(x.abs()));
    let worst = actual.iter().zip(&expected).map(|(a, e)| (a - e).abs()).fold(0f64, f64::max);
    assert!(worst <= 1e-9 * largest, "{what}: off by {worst:e} of {largest:e}");
}

/// Whether [`as_on_a_gpu`] is active.
pub(crate) fn is_forced() -> bool {
    FORCED.get()
}
