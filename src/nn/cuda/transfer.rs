//! Copies between the host and a GPU that the host does not wait for: images on their way there, numbers on their way
//! back.
//!
//! Memory that the system may move is copied once more by the driver, which waits for the device first; so both go
//! through pages that stay where they are. On the CPU, in tests, there is nothing to wait for.

use candle_core::{DType, Device, Result, Tensor, bail};

/// Bytes as a tensor on a device.
///
/// # Errors
/// The device is out of memory, or a step is being captured.
pub(super) fn upload(bytes: &[u8], device: &Device) -> Result<Tensor> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => on_gpu::upload(bytes, cuda),
        _ => Tensor::from_slice(bytes, bytes.len(), device),
    }
}

/// A number that is read later than it is asked for. On a GPU it is copied as soon as it is computed, and reading it
/// waits for no more than that.
pub struct ReadBack(Number);

enum Number {
    OnHost(f64),
    #[cfg(feature = "cuda")]
    OnItsWay(on_gpu::Copied),
}

impl ReadBack {
    /// Asks for a number, a tensor with one element.
    ///
    /// # Errors
    /// It has more elements, a step is being captured, or the device failed.
    pub fn of(number: &Tensor) -> Result<Self> {
        if number.elem_count() != 1 {
            bail!("one number is read back, got {:?}", number.shape());
        }
        let number = number.to_dtype(DType::F64)?.reshape(())?;
        match number.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => Ok(Self(Number::OnItsWay(on_gpu::read_back(&number, cuda)?))),
            _ => Ok(Self(Number::OnHost(number.to_scalar()?))),
        }
    }

    /// The number; waits until it is computed.
    ///
    /// # Errors
    /// The device failed.
    pub fn read(self) -> Result<f64> {
        match self.0 {
            Number::OnHost(number) => Ok(number),
            #[cfg(feature = "cuda")]
            Number::OnItsWay(copied) => copied.read(),
        }
    }
}

#[cfg(feature = "cuda")]
mod on_gpu {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

    use candle_core::cuda_backend::cudarc::driver::{CudaEvent, DeviceRepr, PinnedHostSlice, result, sys};
    use candle_core::cuda_backend::{CudaDevice, DeviceId, WrapErr};
    use candle_core::{DType, Device, Result, Tensor};

    use crate::cuda::graph::not_captured;
    use crate::cuda::launch::address;

    /// By device.
    type Shared<T> = LazyLock<Mutex<HashMap<DeviceId, T>>>;

    /// Two of each device that take turns: one is filled while the other is copied from.
    static STAGES: Shared<[Option<Pages<u8>>; 2]> = LazyLock::new(Mutex::default);
    /// Those for numbers that are not in use.
    static FREE: Shared<Vec<Pages<f64>>> = LazyLock::new(Mutex::default);

    fn locked<T>(shared: &Shared<T>) -> MutexGuard<'_, HashMap<DeviceId, T>> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of the host that stays where it is.
    struct Pages<T> {
        memory: PinnedHostSlice<T>,
        /// When it may be used again. cudarc has an event of its own for this, which it does not record in a process
        /// with one stream, see `setup`.
        copied: CudaEvent,
    }

    impl<T: DeviceRepr> Pages<T> {
        fn new(elements: usize, flags: u32, device: &CudaDevice) -> Result<Self> {
            let stream = device.cuda_stream();
            let context = stream.context();
            // SAFETY: it is written before it is read.
            let memory = unsafe { context.alloc_pinned_with_flags(elements, flags) }.w()?;
            let copied = context.new_event(Some(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC)).w()?;
            Ok(Self { memory, copied })
        }
    }

    /// The memory is released after this.
    impl<T> Drop for Pages<T> {
        fn drop(&mut self) {
            // there is nobody to tell; the next call of the driver fails, too
            _ = self.copied.synchronize();
        }
    }

    pub(super) fn upload(bytes: &[u8], device: &CudaDevice) -> Result<Tensor> {
        not_captured("an upload")?;
        // SAFETY: all of it is copied to.
        let to = unsafe { Tensor::empty(bytes.len(), DType::U8, &Device::Cuda(device.clone())) }?;
        let mut stages = locked(&STAGES);
        let stages = stages.entry(device.id()).or_default();
        stages.swap(0, 1);
        let pages = match stages[0].take().filter(|pages| pages.memory.len() >= bytes.len()) {
            Some(pages) => pages,
            None => {
                // faster to write, and nobody reads it
                let flags = sys::CU_MEMHOSTALLOC_WRITECOMBINED;
                Pages::new(bytes.len().next_power_of_two(), flags, device)?
            }
        };
        fill_and_copy(stages[0].insert(pages), bytes, address(&to)?, device)?;
        Ok(to)
    }

    fn fill_and_copy(pages: &mut Pages<u8>, bytes: &[u8], to: u64, device: &CudaDevice) -> Result<()> {
        pages.copied.synchronize().w()?;
        let from = &mut pages.memory.as_mut_slice().w()?[..bytes.len()];
        from.copy_from_slice(bytes);
        let stream = device.cuda_stream();
        // SAFETY: there are so many bytes at `to`, and nothing is written to `from` before the event.
        unsafe { result::memcpy_htod_async(to, from, stream.cu_stream()) }.w()?;
        pages.copied.record(&stream).w()
    }

    /// A number that is being copied to the host.
    pub(super) struct Copied {
        page: Pages<f64>,
        device: DeviceId,
    }

    pub(super) fn read_back(number: &Tensor, device: &CudaDevice) -> Result<Copied> {
        not_captured("reading a number back")?;
        let free = locked(&FREE).entry(device.id()).or_default().pop();
        let mut page = free.map_or_else(|| Pages::new(1, 0, device), Ok)?;
        let stream = device.cuda_stream();
        let to = page.memory.as_mut_slice().w()?;
        // SAFETY: a number is at its address, and the page is not read before the event.
        unsafe { result::memcpy_dtoh_async(to, address(number)?, stream.cu_stream()) }.w()?;
        page.copied.record(&stream).w()?;
        Ok(Copied { page, device: device.id() })
    }

    impl Copied {
        pub(super) fn read(self) -> Result<f64> {
            self.page.copied.synchronize().w()?;
            let number = self.page.memory.as_slice().w()?[0];
            locked(&FREE).entry(self.device).or_default().push(self.page);
            Ok(number)
        }
    }
}
