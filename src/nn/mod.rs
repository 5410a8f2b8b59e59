//! Layers with right and fast gradients, and the tensors that a network computes with.
//!
//! | file | what |
//! |---|---|
//! | [`layer`] | layers as descriptions: a name, a shape, what they compute from a [`Net`]'s tensors |
//! | [`init`] | initial values from seeds |
//! | [`conv2d`], [`batch_norm`], [`pool`], [`linear`], [`layer_norm`], [`gelu`], [`attention`], [`concat`], [`weighted_sum`] | operators as candle custom ops, with gradients |
//! | `cpu` | their kernels on slices |
//!
//! Images are `[n, h, w, c]` (channels last) between layers; parameters keep PyTorch's shapes.

pub mod attention;
pub mod batch_norm;
pub mod concat;
pub mod conv2d;
mod cpu;
pub mod gelu;
pub mod init;
pub mod layer;
pub mod layer_norm;
pub mod linear;
pub mod pool;
pub mod weighted_sum;

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{CpuStorage, Layout, Result, Tensor, bail};

use self::cpu::Real;

pub use batch_norm::BatchStatistics;

/// Keep candle from starting threads of its own for element-wise operations: they wait by spinning, and so
/// take the cores from the threads that compute. To be called once, before there is a second thread.
pub fn leave_threads_to_rayon() {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the program has one thread yet, so none reads the environment meanwhile.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// Tensors by name, in the order of their names.
pub type StateDict = BTreeMap<String, Tensor>;

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's own; they are observed, so that running statistics can follow.
    Train,
    /// The running statistics.
    Eval,
}

/// What a network computes with: any tensors of the right names. Parameters may be variables, merged
/// kernels or plain tensors; a network never owns them.
pub struct Net<'a> {
    tensors: &'a StateDict,
    mode: Mode,
    observed: RefCell<BTreeMap<String, BatchStatistics>>,
}

impl<'a> Net<'a> {
    /// A network's tensors in a mode.
    pub fn new(tensors: &'a StateDict, mode: Mode) -> Self {
        Self { tensors, mode, observed: RefCell::default() }
    }

    /// The tensor of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn tensor(&self, name: &str) -> Result<&'a Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("the model has no tensor `{name}`"),
        }
    }

    /// Which statistics batch norm uses.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn observe(&self, layer: &str, statistics: BatchStatistics) {
        self.observed.borrow_mut().insert(layer.to_string(), statistics);
    }

    /// The batch statistics of every batch norm that was passed in [`Mode::Train`], by layer name.
    pub fn into_observed(self) -> BTreeMap<String, BatchStatistics> {
        self.observed.into_inner()
    }
}

/// A contiguous argument of a custom op.
fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("a custom operator needs a contiguous tensor"),
    }
}

/// Run `f` on the numbers of a contiguous tensor on the processor.
fn with_slice<T: Real, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => Ok(f(slice(storage, layout)?)),
        _ => bail!("expected a tensor on the processor"),
    }
}

/// Evaluate an expression with `T` the type of numbers of a dtype.
macro_rules! with_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!("this operator computes with f32 and f64, got {other:?}"),
        }
    };
}
use with_real;
