//! Launches of kernels: on a GPU, by `on_gpu`, or in tests on the CPU, by `on_cpu`.

#[cfg(feature = "testing")]
pub(super) mod on_cpu;
#[cfg(feature = "cuda")]
mod on_gpu;

use std::ffi::c_void;

use candle_core::{CpuStorage, D, DType, Device, Result, Shape, Storage, Tensor, bail};

#[cfg(feature = "testing")]
use super::recording;

/// Threads of a block; kernels are compiled for this many.
pub(super) const THREADS: usize = 256;

/// Blocks beyond which threads take several elements.
const BLOCKS: usize = 1 << 14;

/// A kernel with its arguments, in the order of its declaration.
pub(super) struct Launch<'a> {
    kernel: &'static str,
    dtype: DType,
    device: &'a Device,
    /// Tables are borrowed until the launch, which copies them.
    arguments: Vec<Argument>,
}

pub(super) enum Argument {
    /// A number or an address, of at most 8 bytes.
    Word(u64),
    /// A struct, and its number of bytes.
    Table(
        *const c_void,
        #[cfg_attr(
            not(feature = "testing"),
            expect(dead_code, reason = "recordings, in tests, copy tables")
        )]
        usize,
    ),
}

#[cfg(feature = "testing")]
impl Argument {
    /// What it holds, in words.
    pub(super) fn copied(&self) -> Vec<u64> {
        match *self {
            Self::Word(word) => vec![word],
            Self::Table(table, bytes) => {
                let mut words = vec![0u64; bytes.div_ceil(8)];
                // SAFETY: `Launch` borrows a table of so many bytes, and there is room for them.
                unsafe {
                    std::ptr::copy_nonoverlapping(table.cast::<u8>(), words.as_mut_ptr().cast(), bytes);
                };
                words
            }
        }
    }
}

impl<'a> Launch<'a> {
    /// The instance of a kernel for activations of the type and on the device of `on`.
    pub(super) fn new(kernel: &'static str, on: &'a Tensor) -> Self {
        Self { kernel, dtype: on.dtype(), device: on.device(), arguments: Vec::with_capacity(16) }
    }

    fn word(mut self, word: u64) -> Self {
        self.arguments.push(Argument::Word(word));
        self
    }

    /// A tensor to read or to write.
    ///
    /// # Errors
    /// It is not contiguous.
    pub(super) fn tensor(self, tensor: &Tensor) -> Result<Self> {
        let address = address(tensor)?;
        Ok(self.word(address))
    }

    /// A tensor, or a null pointer.
    ///
    /// # Errors
    /// It is not contiguous.
    pub(super) fn optional(self, tensor: Option<&Tensor>) -> Result<Self> {
        match tensor {
            Some(tensor) => self.tensor(tensor),
            None => Ok(self.word(0)),
        }
    }

    /// An `int`.
    ///
    /// # Errors
    /// It does not fit.
    pub(super) fn int(self, number: usize) -> Result<Self> {
        match i32::try_from(number) {
            Ok(number) => Ok(self.word(u64::from(number as u32))),
            Err(_) => bail!("{number} elements are too many for a GPU kernel; use smaller batches"),
        }
    }

    /// A `long`.
    pub(super) fn long(self, number: usize) -> Self {
        self.word(number as u64)
    }

    /// A `double`.
    pub(super) fn double(self, number: f64) -> Self {
        self.word(number.to_bits())
    }

    /// A struct, of the same layout there as here.
    pub(super) fn table<T>(mut self, table: &'a T) -> Self {
        self.arguments.push(Argument::Table(std::ptr::from_ref(table).cast(), size_of::<T>()));
        self
    }

    /// Launches one thread for each of `n` elements, or fewer that take several.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn over(self, n: usize) -> Result<()> {
        let blocks = n.div_ceil(THREADS).clamp(1, BLOCKS);
        self.run([blocks, 1, 1], [THREADS, 1, 1])
    }

    /// The same for what is counted by an `int`.
    ///
    /// # Errors
    /// There are too many elements, or the launch failed.
    pub(super) fn over_int(self, n: usize) -> Result<()> {
        if i32::try_from(n).is_err() {
            bail!("{n} elements are too many for a GPU kernel; use smaller batches");
        }
        self.over(n)
    }

    /// Launches a thread for each pack of elements of tensors of one size, for a kernel that ends in `n, v`.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn over_packs(self, tensors: &[&Tensor]) -> Result<()> {
        let n = tensors[0].elem_count();
        let pack = super::columns::pack(n, tensors)?;
        self.long(n / pack).int(pack)?.over(n / pack)
    }

    /// Launches a warp for each of `n` rows, or fewer that take several.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn over_rows(self, n: usize) -> Result<()> {
        let rows = THREADS / 32;
        self.run([n.div_ceil(rows).clamp(1, BLOCKS), 1, 1], [32, rows, 1])
    }

    /// Launches blocks of threads.
    ///
    /// # Errors
    /// The launch failed.
    pub(super) fn run(self, grid: [usize; 3], block: [usize; 3]) -> Result<()> {
        count();
        let suffix = match self.dtype {
            DType::F32 => "f32",
            DType::BF16 => "bf16_",
            DType::F64 => "f64",
            other => bail!("GPU kernels compute in f32, bf16 and f64, not in {other:?}"),
        };
        let pointer = |argument: &Argument| match argument {
            Argument::Word(word) => std::ptr::from_ref(word).cast_mut().cast(),
            Argument::Table(table, _) => table.cast_mut(),
        };
        let mut pointers: Vec<*mut c_void> = self.arguments.iter().map(pointer).collect();
        let [grid, block] = [grid, block].map(|sides| sides.map(|side| side as u32));
        match self.device {
            #[cfg(feature = "testing")]
            Device::Cpu => {
                let name = format!("{}_{suffix}", self.kernel);
                if recording::is_active() {
                    recording::launch(name, &self.arguments, grid, block);
                    return Ok(());
                }
                on_cpu::launch(&name, &mut pointers, grid, block)
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => on_gpu::launch(device, (self.kernel, suffix), &mut pointers, grid, block),
            _ => {
                _ = (suffix, &mut pointers, grid, block);
                bail!("the kernel `{}` runs only on a GPU", self.kernel)
            }
        }
    }
}

/// Counts a launch, in tests: of a kernel here, or of a library.
pub(super) fn count() {
    #[cfg(feature = "testing")]
    on_cpu::COUNT.set(on_cpu::COUNT.get() + 1);
}

/// A matrix product of cuBLAS.
///
/// # Errors
/// The shapes do not match, or the device is out of memory.
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    count();
    let mut dims = a.dims().to_vec();
    if let Some(columns) = dims.last_mut() {
        *columns = b.dim(D::Minus1)?;
    }
    let (left, right) = (a.clone(), b.clone());
    library(dims, a.dtype(), a, move || left.matmul(&right))
}

/// The same elements in another type.
///
/// # Errors
/// The device is out of memory.
pub fn cast(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    if tensor.dtype() == dtype {
        return Ok(tensor.clone());
    }
    let from = tensor.clone();
    library(tensor.shape(), dtype, tensor, move || from.to_dtype(dtype))
}

/// A call of a library for a tensor of this shape and type: at once, or, where a test captures, at each replay.
///
/// # Errors
/// The call failed.
pub(super) fn library(
    shape: impl Into<Shape>,
    dtype: DType,
    on: &Tensor,
    call: impl Fn() -> Result<Tensor> + 'static,
) -> Result<Tensor> {
    #[cfg(feature = "testing")]
    if recording::is_active() {
        return recording::library(shape.into(), dtype, on, call);
    }
    _ = (shape.into(), dtype, on);
    call()
}

/// Where the elements of a contiguous tensor are.
///
/// # Errors
/// It is not contiguous, or of a type that no kernel takes.
pub(super) fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("a GPU kernel needs contiguous tensors, got strides {:?}", layout.stride())
    };
    let start = (start * tensor.dtype().size_in_bytes()) as u64;
    let base = match &*storage {
        Storage::Cpu(elements) => {
            #[cfg(feature = "testing")]
            recording::check(elements)?;
            base(elements)?
        }
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => on_gpu::address(storage)?,
        _ => bail!("GPU kernels take tensors on NVIDIA GPUs, got one on {:?}", tensor.device()),
    };
    Ok(base + start)
}

/// Where elements on the CPU start.
///
/// # Errors
/// No kernel takes their type.
pub(super) fn base(elements: &CpuStorage) -> Result<u64> {
    #[cfg(feature = "testing")]
    if let Some(address) = recording::address(elements) {
        return Ok(address);
    }
    Ok(match elements {
        CpuStorage::U8(elements) => elements.as_ptr() as u64,
        CpuStorage::U32(elements) => elements.as_ptr() as u64,
        CpuStorage::I64(elements) => elements.as_ptr() as u64,
        CpuStorage::BF16(elements) => elements.as_ptr() as u64,
        CpuStorage::F32(elements) => elements.as_ptr() as u64,
        CpuStorage::F64(elements) => elements.as_ptr() as u64,
        other => bail!("GPU kernels take no {:?}", candle_core::backend::BackendStorage::dtype(other)),
    })
}

/// Number of launches of this thread so far, also of those that a GPU would get.
#[cfg(feature = "testing")]
pub(crate) fn launches() -> usize {
    on_cpu::COUNT.get()
}

/// Runs `f` with the threads of each block in another order.
#[cfg(feature = "testing")]
pub(crate) fn order_of_threads<R>(stride: u32, f: impl FnOnce() -> R) -> R {
    let before = on_cpu::STRIDE.replace(stride);
    let result = f();
    on_cpu::STRIDE.set(before);
    result
}
