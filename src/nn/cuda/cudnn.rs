//! cuDNN's three convolutions, by its graph API: for each shape the first engine that its heuristics propose, that gives
//! the same bits again, and that computes in the precision of the process. The choice depends on the shape, the card
//! and the version of cuDNN alone, so that a rerun takes the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::rc::Rc;

use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{DType, Result, Tensor, bail};
use identity::Precision;
use sys::cudnnBackendAttributeName_t::{self as Name, *};
use sys::cudnnBackendAttributeType_t::{self as Type, *};
use sys::cudnnBackendDescriptorType_t::{self as Kind, *};

use super::convolve::Pass;
use super::graph::needed_before;
use super::launch::address;
use super::precision::precision;
use super::to_be_written;
use crate::cpu::ConvShape;

/// The largest workspace of an engine, in bytes.
const WORKSPACE: usize = 2 << 30;
/// Names of images, kernels and outputs in a graph.
const UIDS: [i64; 3] = [1, 2, 3];

thread_local! {
    /// One handle for each device of this thread; handles must not be shared between threads.
    static HANDLES: RefCell<HashMap<DeviceId, Handle>> = RefCell::default();
}

struct Handle {
    handle: sys::cudnnHandle_t,
    plans: HashMap<Key, Rc<Plan>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    pass: Pass,
    shape: ConvShape,
    dtype: DType,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.plans.clear();
        // SAFETY: it was created, and no plan is left.
        _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// See [`super::convolve::convolve`].
pub(super) fn convolve(pass: Pass, a: &Tensor, b: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let (a, b) = (aligned(a)?, aligned(b)?);
    let device = a.device().as_cuda_device()?;
    let y = to_be_written(&pass.result(shape), a.dtype(), &a)?;
    let (of_a, of_b, of_y) = (address(&a)?, address(&b)?, address(&y)?);
    let operands = match pass {
        Pass::Forward => [of_a, of_b, of_y],
        Pass::Images => [of_y, of_b, of_a],
        Pass::Kernels => [of_a, of_y, of_b],
    };
    let key = Key { pass, shape: *shape, dtype: a.dtype() };
    let (handle, plan) = planned(device, &key)?;
    let room = to_be_written(plan.workspace.max(1), DType::U8, &a)?;
    plan.execute(handle, operands, address(&room)?).map_err(|error| failed("computing", &key, error))?;
    Ok(y)
}

/// The tensor, or a copy that starts where cuDNN's vectors may.
fn aligned(tensor: &Tensor) -> Result<Tensor> {
    if address(tensor)?.is_multiple_of(16) { Ok(tensor.clone()) } else { tensor.force_contiguous() }
}

fn planned(device: &CudaDevice, key: &Key) -> Result<(sys::cudnnHandle_t, Rc<Plan>)> {
    HANDLES.with_borrow_mut(|handles| {
        if !handles.contains_key(&device.id()) {
            let opened = open(device).map_err(|error| failed("opening", key, error))?;
            handles.insert(device.id(), Handle { handle: opened, plans: HashMap::new() });
        }
        let Handle { handle, plans } = handles.get_mut(&device.id()).expect("just opened");
        if let Some(plan) = plans.get(key) {
            return Ok((*handle, plan.clone()));
        }
        needed_before("the plan of a convolution")?;
        let found = Plan::find(*handle, key).map_err(|error| failed("planning", key, error))?;
        let Some(plan) = found.map(Rc::new) else {
            let Key { pass, shape, dtype } = key;
            bail!(
                "cuDNN has no deterministic algorithm for this convolution in {:?}: {pass:?} of {shape:?} as \
                 {dtype:?}; use another --precision, or --device cpu",
                precision()
            )
        };
        plans.insert(*key, plan.clone());
        Ok((*handle, plan))
    })
}

fn open(device: &CudaDevice) -> std::result::Result<sys::cudnnHandle_t, CudnnError> {
    let handle = result::create_handle()?;
    // SAFETY: both are open.
    unsafe { result::set_stream(handle, device.cuda_stream().cu_stream().cast())? };
    Ok(handle)
}

fn failed(doing: &str, key: &Key, error: CudnnError) -> candle_core::Error {
    let Key { pass, shape, dtype } = key;
    candle_core::Error::Msg(format!("cuDNN failed at {doing} {pass:?} of {shape:?} as {dtype:?}: {error}"))
}

/// A descriptor of cuDNN's graph API.
struct Descriptor(sys::cudnnBackendDescriptor_t);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was created, and is not used again.
        _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

type Outcome<T> = std::result::Result<T, CudnnError>;

impl Descriptor {
    fn new(kind: Kind) -> Outcome<Self> {
        let mut descriptor = null_mut();
        // SAFETY: it is written to.
        unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut descriptor) }.result()?;
        Ok(Self(descriptor))
    }

    /// Sets an attribute whose elements are `T` in C.
    fn set<T>(self, name: Name, of: Type, values: &[T]) -> Outcome<Self> {
        let (count, elements) = (values.len() as i64, values.as_ptr().cast());
        // SAFETY: the elements are read before this returns.
        unsafe { sys::cudnnBackendSetAttribute(self.0, name, of, count, elements) }.result()?;
        Ok(self)
    }

    fn with(self, name: Name, part: &Self) -> Outcome<Self> {
        self.set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, &[part.0])
    }

    fn numbers(self, name: Name, numbers: &[i64]) -> Outcome<Self> {
        self.set(name, CUDNN_TYPE_INT64, numbers)
    }

    fn finished(self) -> Outcome<Self> {
        // SAFETY: it exists.
        unsafe { sys::cudnnBackendFinalize(self.0) }.result()?;
        Ok(self)
    }

    /// Reads an attribute into `to`; returns the number of its elements, of all of them if `to` is empty.
    fn get<T>(&self, name: Name, of: Type, to: &mut [T]) -> Outcome<usize> {
        let mut count = 0;
        // without room for elements, a null pointer asks for their number
        let elements = if to.is_empty() { null_mut() } else { to.as_mut_ptr().cast() };
        let room = to.len() as i64;
        // SAFETY: at most as many elements are written as there is room for.
        unsafe { sys::cudnnBackendGetAttribute(self.0, name, of, room, &mut count, elements) }.result()?;
        Ok(count as usize)
    }

    /// The notes on an engine, as numbers: a later cuDNN may know more of them.
    fn notes(&self, name: Name, of: Type) -> Outcome<Vec<u32>> {
        let mut notes = [u32::MAX; 16];
        let count = self.get(name, of, &mut notes)?;
        Ok(notes[..count.min(notes.len())].to_vec())
    }
}

/// An engine, ready to compute a pass.
struct Plan {
    plan: Descriptor,
    workspace: usize,
    /// What the plan was made from.
    _parts: [Descriptor; 2],
}

impl Plan {
    /// The first proposed engine that serves; `None` if none does.
    fn find(handle: sys::cudnnHandle_t, key: &Key) -> Outcome<Option<Self>> {
        for mode in [
            sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_A,
            sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_FALLBACK,
        ] {
            let graph = graph(handle, key)?;
            for config in proposals(&graph, mode)? {
                if serves(&config, key.dtype)?
                    && let Ok((plan, workspace)) = Self::ready(handle, &config)
                    && workspace <= WORKSPACE
                {
                    return Ok(Some(Self { plan, workspace, _parts: [graph, config] }));
                }
            }
        }
        Ok(None)
    }

    fn ready(handle: sys::cudnnHandle_t, config: &Descriptor) -> Outcome<(Descriptor, usize)> {
        let plan = Descriptor::new(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, &[handle])?
            .with(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config)?
            .finished()?;
        let mut bytes = [0i64];
        plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, &mut bytes)?;
        Ok((plan, bytes[0] as usize))
    }

    fn execute(&self, handle: sys::cudnnHandle_t, operands: [u64; 3], room: u64) -> Outcome<()> {
        let pointers = operands.map(|address| address as *mut c_void);
        let pack = Descriptor::new(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, &pointers)?
            .numbers(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &UIDS)?
            .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, &[room as *mut c_void])?
            .finished()?;
        // SAFETY: the plan says the sizes and layouts of the operands, which the shape gave; what is freed afterwards
        // is freed in the order of the stream.
        unsafe { sys::cudnnBackendExecute(handle, self.plan.0, pack.0) }.result()
    }
}

/// A graph of one convolution.
fn graph(handle: sys::cudnnHandle_t, key: &Key) -> Outcome<Descriptor> {
    let Key { pass, shape, dtype } = key;
    let ConvShape { n, h, w, ci, co, kh, kw, .. } = *shape;
    let images = tensor(UIDS[0], [n, ci, h, w], *dtype)?;
    let kernels = tensor(UIDS[1], [co, shape.ci_group(), kh, kw], *dtype)?;
    let outputs = tensor(UIDS[2], [n, co, shape.oh(), shape.ow()], *dtype)?;
    let (kind, [x, w, y, options, alpha, beta]) = names(*pass);
    let operation = Descriptor::new(kind)?
        .with(x, &images)?
        .with(w, &kernels)?
        .with(y, &outputs)?
        .with(options, &convolution(shape)?)?
        .set(alpha, CUDNN_TYPE_FLOAT, &[1f32])?
        .set(beta, CUDNN_TYPE_FLOAT, &[0f32])?
        .finished()?;
    Descriptor::new(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
        .with(CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?
        .set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, &[handle])?
        .finished()
}

/// cuDNN's names of an operation and its attributes: images, kernels, outputs, options, and factors of the result and of
/// what was there.
fn names(pass: Pass) -> (Kind, [Name; 6]) {
    match pass {
        Pass::Forward => (
            CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Pass::Images => (
            CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Pass::Kernels => (
            CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    }
}

/// A tensor of cuDNN's dimensions `[n, c, h, w]` with its channels last in memory.
fn tensor(uid: i64, dims: [usize; 4], dtype: DType) -> Outcome<Descriptor> {
    let [n, c, h, w] = dims.map(|dim| dim as i64);
    let of = match dtype {
        DType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        DType::F64 => sys::cudnnDataType_t::CUDNN_DATA_DOUBLE,
        _ => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    };
    Descriptor::new(CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, &[of])?
        .numbers(CUDNN_ATTR_TENSOR_DIMENSIONS, &[n, c, h, w])?
        .numbers(CUDNN_ATTR_TENSOR_STRIDES, &[h * w * c, 1, w * c, c])?
        .numbers(CUDNN_ATTR_TENSOR_UNIQUE_ID, &[uid])?
        .numbers(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[16])?
        .finished()
}

fn convolution(shape: &ConvShape) -> Outcome<Descriptor> {
    let both = |number: usize| [number as i64; 2];
    let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    let compute = sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
    Descriptor::new(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, &[compute])?
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, &[mode])?
        .numbers(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[2])?
        .numbers(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &both(shape.padding))?
        .numbers(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &both(shape.padding))?
        .numbers(CUDNN_ATTR_CONVOLUTION_DILATIONS, &both(shape.dilation))?
        .numbers(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &both(shape.stride))?
        .finished()
}

/// The engines that cuDNN proposes for a graph, best first.
fn proposals(graph: &Descriptor, mode: sys::cudnnBackendHeurMode_t) -> Outcome<Vec<Descriptor>> {
    let heuristics = Descriptor::new(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .with(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)?
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, &[mode])?
        .finished()?;
    let (results, of) = (CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR);
    let count = heuristics.get::<sys::cudnnBackendDescriptor_t>(results, of, &mut [])?;
    let configs = (0..count).map(|_| Descriptor::new(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    let mut configs = configs.collect::<Outcome<Vec<_>>>()?;
    let mut pointers: Vec<_> = configs.iter().map(|config| config.0).collect();
    let count = heuristics.get(results, of, &mut pointers)?;
    configs.truncate(count);
    Ok(configs)
}

/// Whether an engine gives the same bits again, computes in the precision of the process, and is compiled already.
fn serves(config: &Descriptor, dtype: DType) -> Outcome<bool> {
    use sys::cudnnBackendBehaviorNote_t::CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION as COMPILES;
    use sys::cudnnBackendNumericalNote_t::{
        CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS as NARROWS, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC as VARIES,
        CUDNN_NUMERICAL_NOTE_TENSOR_CORE as ON_TENSOR_CORES,
    };
    let engine = Descriptor::new(CUDNN_BACKEND_ENGINE_DESCRIPTOR)?;
    config.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, &mut [engine.0])?;
    let numerical = engine.notes(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE)?;
    let behavior = engine.notes(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE)?;
    // on f32, tensor cores compute in TF32
    let is_exact = dtype != DType::F32
        || precision() == Precision::Tf32
        || ![ON_TENSOR_CORES, NARROWS].iter().any(|note| numerical.contains(&(*note as u32)));
    Ok(is_exact && !numerical.contains(&(VARIES as u32)) && !behavior.contains(&(COMPILES as u32)))
}
