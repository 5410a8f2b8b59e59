//! Work that is captured once and then replayed: as a CUDA graph, or, in tests on the CPU, as a list of calls.
//!
//! What a capture may do:
//!
//! - It reads and writes tensors that are older than it, which are named beforehand and kept by the graph: replays use
//!   their addresses. Whoever replays writes the next inputs into them, and reads results from them.
//! - No tensor that is born in it outlives it, and no older one is freed in it.
//! - Nothing is uploaded, read back or waited for.
//! - What is planned or loaded for a shape exists already: two steps of that shape were taken before.
//!
//! Each of these is checked: on a GPU by candle, the driver and `on_gpu`, in tests by `recording`.

use std::cell::RefCell;

use candle_core::{Device, Error, Result, Tensor, bail};

thread_local! {
    /// Tensors that the capture of this thread needs; `None` outside of captures.
    static OLDER: RefCell<Option<Vec<Tensor>>> = const { RefCell::new(None) };
}

/// Captured work.
pub struct Graph {
    replay: Box<dyn Fn() -> Result<()>>,
    /// The graph has their addresses.
    _older: Vec<Tensor>,
}

impl Graph {
    /// Captures what `work` launches on a GPU, without computing it; `older` are all tensors outside of `work` that it
    /// reads or writes.
    ///
    /// # Errors
    /// The device is no GPU, `work` failed, or it broke a rule of captures.
    pub fn capture(device: &Device, older: Vec<Tensor>, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        if OLDER.with_borrow(Option::is_some) {
            bail!("a capture within a capture");
        }
        OLDER.set(Some(older));
        let _capturing = Capturing;
        let captured = captured(device, work);
        let older = OLDER.take().unwrap_or_default();
        match captured {
            Ok(replay) => Ok(Self { replay, _older: older }),
            Err(error) => Err(Error::Msg(format!("failed to capture a step: {error}"))),
        }
    }

    /// Computes the captured work, on what the older tensors hold now. On a GPU it is queued, as a launch is.
    ///
    /// # Errors
    /// The launch failed.
    pub fn replay(&self) -> Result<()> {
        (self.replay)()
    }
}

/// Ends with a capture, also with one that panics.
struct Capturing;

impl Drop for Capturing {
    fn drop(&mut self) {
        OLDER.set(None);
    }
}

fn captured(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<Box<dyn Fn() -> Result<()>>> {
    match device {
        #[cfg(feature = "testing")]
        Device::Cpu => {
            let recording =
                super::recording::record(&OLDER.with_borrow(Clone::clone).unwrap_or_default(), work)?;
            Ok(Box::new(move || recording.replay()))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let graph = on_gpu::capture(device, work)?;
            Ok(Box::new(move || candle_core::cuda_backend::WrapErr::w(graph.launch())))
        }
        other => {
            _ = work;
            bail!("there are graphs on NVIDIA GPUs only, not on {:?}", other.location())
        }
    }
}

/// Fails within a capture: `what` has to exist before.
///
/// # Errors
/// This thread captures.
pub(super) fn needed_before(what: &str) -> Result<()> {
    if OLDER.with_borrow(Option::is_some) {
        bail!("{what} is made before a capture: take a step of this shape first");
    }
    Ok(())
}

/// Fails within a capture: `what` goes to the device or comes from it at each step.
///
/// # Errors
/// This thread captures.
#[cfg(feature = "cuda")]
pub(super) fn not_captured(what: &str) -> Result<()> {
    if OLDER.with_borrow(Option::is_some) {
        bail!("{what} cannot be captured");
    }
    Ok(())
}

/// Has a capture, if there is one, keep a tensor that is older than it.
pub(super) fn keep(tensor: &Tensor) -> Result<()> {
    OLDER.with_borrow_mut(|older| older.iter_mut().for_each(|older| older.push(tensor.clone())));
    #[cfg(feature = "testing")]
    super::recording::keep(tensor)?;
    Ok(())
}

#[cfg(feature = "cuda")]
mod on_gpu {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use candle_core::cuda_backend::cudarc::driver::{CudaGraph, sys};
    use candle_core::cuda_backend::{CudaDevice, WrapErr};
    use candle_core::{Result, bail};
    use sys::CUgraphNodeType_enum::{CU_GRAPH_NODE_TYPE_MEM_ALLOC, CU_GRAPH_NODE_TYPE_MEM_FREE};

    pub(super) fn capture(device: &CudaDevice, work: impl FnOnce() -> Result<()>) -> Result<CudaGraph> {
        let stream = device.cuda_stream();
        // Only within the capture, so that candle finds no earlier upload to repeat, and refuses each.
        let _no_uploads = device.enable_cuda_graph_htod_cache();
        stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).w()?;
        let worked = catch_unwind(AssertUnwindSafe(work));
        // whatever happened: nothing else runs on a stream that captures
        let ended = stream.end_capture(sys::CUgraphInstantiate_flags(0)).w();
        // the driver refuses to free what is older; cudarc keeps that error until it is asked
        let freed = stream.context().check_err().w();
        worked.unwrap_or_else(|panic| resume_unwind(panic))?;
        freed?;
        let Some(graph) = ended? else { bail!("nothing was captured") };
        match outliving(&graph)? {
            0 => Ok(graph),
            n => bail!("{n} tensors that were born in it outlive it"),
        }
    }

    /// Number of allocations in a graph without a release; it could be launched once only.
    fn outliving(graph: &CudaGraph) -> Result<usize> {
        let kinds = kinds(graph)?;
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        Ok(count(CU_GRAPH_NODE_TYPE_MEM_ALLOC).saturating_sub(count(CU_GRAPH_NODE_TYPE_MEM_FREE)))
    }

    /// The kind of each node.
    fn kinds(graph: &CudaGraph) -> Result<Vec<sys::CUgraphNodeType>> {
        let (of, mut n) = (graph.cu_graph(), 0);
        // SAFETY: without room for nodes, their number is written.
        unsafe { sys::cuGraphGetNodes(of, std::ptr::null_mut(), &mut n) }.result().w()?;
        let mut nodes = vec![std::ptr::null_mut(); n];
        // SAFETY: there is room for `n` nodes.
        unsafe { sys::cuGraphGetNodes(of, nodes.as_mut_ptr(), &mut n) }.result().w()?;
        let kind = |node| {
            let mut kind = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
            // SAFETY: it is a node of a graph that exists.
            unsafe { sys::cuGraphNodeGetType(node, &mut kind) }.result().w()?;
            Ok(kind)
        };
        nodes.into_iter().map(kind).collect()
    }
}
