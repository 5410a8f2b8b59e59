//! Layers with correct and fast gradients, and the tensors that a network computes with.
//!
//! | file | what |
//! |---|---|
//! | [`layer`] | layers as descriptions: a name, a shape, the computation on a [`Net`]'s tensors |
//! | [`init`] | initialization from seeds |
//! | [`cost`] | cost per image: multiply-adds, activations |
//! | [`normalize`] | normalization of input pixels |
//! | [`tape`] | values and their gradients |
//! | [`finite`](mod@finite) | values that are not finite |
//! | [`watch`] | watching what goes into layers |
//! | [`conv2d`], [`batch_norm`], [`pool`], [`linear`], [`layer_norm`], [`gelu`], [`attention`], [`concat`](mod@concat), [`token`], [`weighted_sum`] | operators on values |
//! | `cpu` | their kernels on slices, for the processor |
//! | [`cuda`] | the same for NVIDIA GPUs, and what else a training needs there |
//!
//! Images are `[n, h, w, c]` (channels last) between layers; parameters keep PyTorch's shapes.

pub mod attention;
pub mod batch_norm;
pub mod concat;
pub mod conv2d;
pub mod cost;
mod cpu;
pub mod cuda;
pub mod finite;
pub mod gelu;
pub mod init;
pub mod layer;
pub mod layer_norm;
pub mod linear;
pub mod normalize;
pub mod pool;
pub mod tape;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod watch;
pub mod weighted_sum;

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, bail};

use self::cpu::Real;

pub use batch_norm::BatchStatistics;
pub use cuda::set_precision;
pub use normalize::Normalize;
pub use tape::{Tape, Value};
pub use watch::{LayerInput, POOL, Watch, add_to};

/// Keeps candle from starting its own threads for element-wise operations: they spin while waiting, which takes cores
/// from the threads that compute.
///
/// # Safety
/// The process must still be single-threaded, so that no other thread reads the environment.
pub unsafe fn set_up_process() {
    const THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(THREADS).is_none() {
        // SAFETY: the caller promises that no other thread reads the environment.
        unsafe { std::env::set_var(THREADS, "1") };
    }
}

/// Tensors by name, sorted by name.
pub type StateDict = BTreeMap<String, Tensor>;

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch statistics; they are recorded, for updating the running statistics.
    Train,
    /// The running statistics.
    Eval,
}

/// Values by name.
pub type Values = BTreeMap<String, Value>;

/// The tensors that a network computes with: any tensors with the right names. Parameters may be leaves, merged kernels
/// or plain tensors; a network never owns them.
pub struct Net<'a> {
    tensors: &'a StateDict,
    values: Values,
    mode: Mode,
    observed: RefCell<BTreeMap<String, BatchStatistics>>,
    watch: Option<&'a Watch<'a>>,
    at_outputs: Option<AtOutput<'a>>,
}

/// Receives the name and the output `[.., channels]` of a convolution or linear layer, before a residual is added, and
/// returns its replacement.
pub type AtOutput<'a> = &'a dyn Fn(&str, Value) -> Result<Value>;

impl<'a> Net<'a> {
    /// The tensors of a network, without gradients.
    pub fn new(tensors: &'a StateDict, mode: Mode) -> Self {
        Self::with_values(tensors, Values::new(), mode)
    }

    /// The same with some tensors replaced by values, which may be tracked for gradients.
    pub fn with_values(tensors: &'a StateDict, values: Values, mode: Mode) -> Self {
        Self { tensors, values, mode, observed: RefCell::default(), watch: None, at_outputs: None }
    }

    /// The same with a callback that receives the input of each layer with kernels, and of the last pool.
    pub fn watched(self, watch: &'a Watch<'a>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// The same with a function that receives the output of each convolution and linear layer and may replace it.
    pub fn at_outputs(self, see: AtOutput<'a>) -> Self {
        Self { at_outputs: Some(see), ..self }
    }

    /// Passes what enters the last pool, `[n, h, w, c]`, to the watch, as the input of a layer called [`POOL`].
    ///
    /// # Errors
    /// The watch failed.
    pub fn enters_pool(&self, x: &Value) -> Result<()> {
        self.enters(POOL, x, |x| LayerInput::Rows(x))
    }

    /// Passes the input of a layer to the watch, in the type of parameters.
    fn enters(
        &self,
        layer: &str,
        x: &Value,
        input: impl for<'b> FnOnce(&'b Tensor) -> LayerInput<'b>,
    ) -> Result<()> {
        match self.watch {
            Some(watch) => watch(layer, input(x.cast(cuda::wide(x.tensor().dtype()))?.tensor())),
            None => Ok(()),
        }
    }

    /// Finds a tensor by name.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        match self.values.get(name).map(Value::tensor).or_else(|| self.tensors.get(name)) {
            Some(tensor) => Ok(tensor),
            None => bail!("the model has no tensor `{name}`"),
        }
    }

    /// Finds a tensor by name, as a value to compute with.
    ///
    /// # Errors
    /// There is no such tensor.
    pub fn value(&self, name: &str) -> Result<Value> {
        match self.values.get(name) {
            Some(value) => Ok(value.clone()),
            None => Ok(Value::constant(self.tensor(name)?.detach())),
        }
    }

    /// Which statistics batch norm uses.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The output of a layer, or its replacement.
    fn output(&self, layer: &str, y: Value) -> Result<Value> {
        match self.at_outputs {
            Some(see) => {
                let dtype = y.tensor().dtype();
                see(layer, y.cast(cuda::wide(dtype))?)?.cast(dtype)
            }
            None => Ok(y),
        }
    }

    fn observe(&self, layer: &str, statistics: BatchStatistics) {
        self.observed.borrow_mut().insert(layer.to_string(), statistics);
    }

    /// The batch statistics of each batch norm evaluated in [`Mode::Train`], by layer name.
    pub fn into_observed(self) -> BTreeMap<String, BatchStatistics> {
        self.observed.into_inner()
    }
}

/// Tensors of a state dict as leaves of a new tape.
pub fn leaves<'a>(tensors: &StateDict, names: impl IntoIterator<Item = &'a String>) -> Values {
    let tape = Tape::default();
    let named = names.into_iter().filter_map(|name| Some((name.clone(), tensors.get(name)?.detach())));
    named.map(|(name, tensor)| (name, tape.leaf(tensor))).collect()
}

/// The gradient of each leaf that a result depends on, by name, given the gradient of the result.
///
/// # Errors
/// An operator failed.
pub fn gradients(result: &Value, gradient: Tensor, leaves: &Values) -> Result<StateDict> {
    let mut gradients = result.backward(gradient)?;
    let of = |(name, leaf): (&String, &Value)| Some((name.clone(), gradients.take(leaf)?));
    Ok(leaves.iter().filter_map(of).collect())
}

/// Runs `f` on the elements of a contiguous tensor on CPU.
fn with_slice<T: Real, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { bail!("expected a tensor on the CPU") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(f(&storage.as_slice::<T>()?[start..end])),
        None => bail!("an operator needs a contiguous tensor"),
    }
}

/// Elements as a tensor on CPU.
fn on_cpu<T: Real>(elements: Vec<T>, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(elements, shape, &Device::Cpu)
}

/// Evaluates an expression with `T` the Rust type of a dtype.
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
            other => candle_core::bail!("this operator supports f32 and f64, got {other:?}"),
        }
    };
}
use with_real;
