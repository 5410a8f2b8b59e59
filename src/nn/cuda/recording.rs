//! What a GPU would capture, recorded on the CPU for tests: launches, and calls of libraries.
//!
//! While work is recorded, and for tensors born in it also between replays, elements are put aside: what reads them on
//! the host, or computes with them by candle, fails. A launch takes nothing else, so that it fails on what was uploaded
//! or computed on the host. Before each replay, what was born in the recording is filled with NaN.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Shape, Tensor, WithDType, bail};

use super::launch::{Argument, on_cpu};

thread_local! {
    /// What this thread records; `None` outside of captures.
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Recorded work.
#[derive(Default)]
pub(super) struct Recording {
    calls: Vec<Call>,
    born: Vec<PutAside>,
    /// Put aside until everything is recorded.
    older: Vec<PutAside>,
}

enum Call {
    Launch {
        name: String,
        arguments: Vec<Vec<u64>>,
        grid: [u32; 3],
        block: [u32; 3],
    },
    /// Writes its result into a tensor that was born in the recording.
    Library {
        call: Box<dyn Fn() -> Result<Tensor>>,
        result: Tensor,
    },
}

/// Records `work`, which uses `older` tensors.
///
/// # Errors
/// It failed, or broke a rule of captures.
pub(super) fn record(older: &[Tensor], work: impl FnOnce() -> Result<()>) -> Result<Recording> {
    RECORDING.set(Some(Recording::default()));
    let worked = older.iter().try_for_each(keep).and_then(|()| work());
    let mut recording = RECORDING.take().unwrap_or_default();
    recording.older.drain(..).try_for_each(|older| older.put_back())?;
    match worked {
        Ok(()) => Ok(recording),
        Err(error) if is_of_elements(&error) => {
            bail!("something was read back, or computed other than by launches: {error}")
        }
        Err(error) => Err(error),
    }
}

impl Recording {
    /// Makes all calls again.
    ///
    /// # Errors
    /// A call failed.
    pub(super) fn replay(&self) -> Result<()> {
        self.born.iter().try_for_each(PutAside::put_back_as_nan)?;
        let called = self.calls.iter().try_for_each(Call::again);
        self.born.iter().try_for_each(PutAside::put_aside)?;
        called
    }
}

impl Call {
    fn again(&self) -> Result<()> {
        match self {
            Self::Launch { name, arguments, grid, block } => {
                let pointer = |words: &Vec<u64>| words.as_ptr().cast_mut().cast();
                let mut pointers: Vec<_> = arguments.iter().map(pointer).collect();
                on_cpu::launch(name, &mut pointers, *grid, *block)
            }
            Self::Library { call, result } => {
                result.flatten_all()?.slice_set(&call()?.flatten_all()?.contiguous()?, 0, 0)
            }
        }
    }
}

/// Whether this thread records.
pub(super) fn is_active() -> bool {
    RECORDING.with_borrow(Option::is_some)
}

fn change(f: impl FnOnce(&mut Recording)) {
    RECORDING.with_borrow_mut(|recording| recording.as_mut().map(f));
}

/// Records a launch.
pub(super) fn launch(name: String, arguments: &[Argument], grid: [u32; 3], block: [u32; 3]) {
    let arguments = arguments.iter().map(Argument::copied).collect();
    change(|recording| recording.calls.push(Call::Launch { name, arguments, grid, block }));
}

/// Records a call of a library; returns its result to be.
///
/// # Errors
/// candle cannot make a tensor.
pub(super) fn library(
    shape: Shape,
    dtype: DType,
    on: &Tensor,
    call: impl Fn() -> Result<Tensor> + 'static,
) -> Result<Tensor> {
    let result = super::to_be_written(shape, dtype, on)?;
    let made = result.clone();
    change(|recording| recording.calls.push(Call::Library { call: Box::new(call), result: made }));
    Ok(result)
}

/// Takes note of a tensor that was just born.
///
/// # Errors
/// Its type is none that kernels take.
pub(super) fn born(tensor: &Tensor) -> Result<()> {
    if is_active() {
        let aside = PutAside::new(tensor)?;
        change(|recording| recording.born.push(aside));
    }
    Ok(())
}

/// Takes note of a tensor that is older than the recording.
///
/// # Errors
/// Its type is none that kernels take.
pub(super) fn keep(tensor: &Tensor) -> Result<()> {
    let (storage, _) = tensor.storage_and_layout();
    let is_known = matches!(&*storage, candle_core::Storage::Cpu(elements) if address(elements).is_some());
    drop(storage);
    if is_active() && !is_known {
        let aside = PutAside::new(tensor)?;
        change(|recording| recording.older.push(aside));
    }
    Ok(())
}

/// Where the elements of a tensor are that were put aside; `None` if they were not.
pub(super) fn address(storage: &CpuStorage) -> Option<u64> {
    // candle computes nothing with this type
    let CpuStorage::F4(bytes) = storage else { return None };
    bytes.as_slice().try_into().ok().map(u64::from_ne_bytes)
}

/// Checks where a launch finds the elements of a tensor.
///
/// # Errors
/// The tensor was uploaded or made by candle within a capture, or was born in one and is used outside of it.
pub(super) fn check(storage: &CpuStorage) -> Result<()> {
    match (is_active(), address(storage)) {
        (true, None) => bail!(
            "a launch within a capture takes a tensor that is neither named as older nor made by a launch: it was \
             uploaded, or computed on the host"
        ),
        (false, Some(_)) => bail!("a tensor that was born in a capture outlives it"),
        _ => Ok(()),
    }
}

/// Whether an error says that elements were put aside.
fn is_of_elements(error: &candle_core::Error) -> bool {
    error.to_string().contains(&format!("{:?}", DType::F4))
}

/// A tensor, and its elements while they are not in it; their address is in it instead.
struct PutAside {
    tensor: Tensor,
    elements: RefCell<CpuStorage>,
}

impl PutAside {
    fn new(tensor: &Tensor) -> Result<Self> {
        let base = {
            let (storage, _) = tensor.storage_and_layout();
            let candle_core::Storage::Cpu(elements) = &*storage else { bail!("a recording is on the CPU") };
            super::launch::base(elements)?
        };
        let address = CpuStorage::F4(base.to_ne_bytes().to_vec());
        let aside = Self { tensor: tensor.clone(), elements: RefCell::new(address) };
        aside.put_aside()?;
        Ok(aside)
    }

    fn put_aside(&self) -> Result<()> {
        self.tensor.inplace_op1(self)
    }

    fn put_back(&self) -> Result<()> {
        self.tensor.inplace_op1(self)
    }

    fn put_back_as_nan(&self) -> Result<()> {
        match &mut *self.elements.borrow_mut() {
            CpuStorage::U8(elements) => elements.fill(u8::MAX),
            CpuStorage::U32(elements) => elements.fill(u32::MAX),
            CpuStorage::I64(elements) => elements.fill(i64::MAX),
            CpuStorage::BF16(elements) => elements.fill(WithDType::from_f64(f64::NAN)),
            CpuStorage::F32(elements) => elements.fill(f32::NAN),
            CpuStorage::F64(elements) => elements.fill(f64::NAN),
            _ => {}
        }
        self.put_back()
    }
}

/// Exchanges the elements and what stands for them.
impl InplaceOp1 for PutAside {
    fn name(&self) -> &'static str {
        "put-aside"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        std::mem::swap(storage, &mut self.elements.borrow_mut());
        Ok(())
    }
}
