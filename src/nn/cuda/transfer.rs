//! Copies between the host and a GPU that nobody waits for: images on their way there, numbers on their way back.
//!
//! Memory that the driver may swap out is copied once more, and waited for, before a GPU gets it; so both go through
//! pages that stay where they are. On the CPU, in tests, there is nothing to wait for.

use candle_core::{DType, Device, Result, Tensor};

/// Bytes as a tensor on a device.
///
/// # Errors
/// The device is out of memory.
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
    /// It has more elements, or the device failed.
    pub fn of(number: &Tensor) -> Result<Self> {
        let number = number.to_dtype(DType::F64)?;
        match number.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => Ok(Self(Number::OnItsWay(on_gpu::Copied::of(&number, cuda)?))),
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
            Number::OnItsWay(copy) => copy.read(),
        }
    }
}

#[cfg(feature = "cuda")]
mod on_gpu {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use candle_core::cuda_backend::cudarc::driver::{CudaEvent, PinnedHostSlice, result};
    use candle_core::cuda_backend::{CudaDevice, DeviceId, WrapErr};
    use candle_core::{DType, Device, Result, Storage, Tensor, bail};
    use rayon::prelude::*;

    use crate::cuda::launch::address;

    /// Bytes that a thread copies at once.
    const PART: usize = 1 << 20;

    thread_local! {
        /// Two stages of each device that take turns: one is filled while the other is copied from.
        static STAGES: RefCell<HashMap<DeviceId, [Option<Stage>; 2]>> = RefCell::default();
        /// Pages for numbers that are not in use.
        static FREE: RefCell<HashMap<DeviceId, Vec<PinnedHostSlice<f64>>>> = RefCell::default();
    }

    /// Pages, and when they may be written again.
    struct Stage {
        pages: PinnedHostSlice<u8>,
        copied: CudaEvent,
    }

    pub(super) fn upload(bytes: &[u8], device: &CudaDevice) -> Result<Tensor> {
        // SAFETY: all of it is copied to.
        let to = unsafe { Tensor::empty(bytes.len(), DType::U8, &Device::Cuda(device.clone())) }?;
        STAGES.with_borrow_mut(|stages| {
            let stages = stages.entry(device.id()).or_default();
            stages.swap(0, 1);
            let stage = match stages[0].take().filter(|stage| stage.pages.len() >= bytes.len()) {
                Some(stage) => stage,
                None => Stage::new(bytes.len(), device)?,
            };
            stages[0].insert(stage).copy(bytes, address(&to)?, device)
        })?;
        Ok(to)
    }

    impl Stage {
        fn new(bytes: usize, device: &CudaDevice) -> Result<Self> {
            let stream = device.cuda_stream();
            // SAFETY: pages are written before they are read.
            let pages = unsafe { stream.context().alloc_pinned(bytes.next_power_of_two()) }.w()?;
            Ok(Self { pages, copied: stream.context().new_event(None).w()? })
        }

        fn copy(&mut self, bytes: &[u8], to: u64, device: &CudaDevice) -> Result<()> {
            self.copied.synchronize().w()?;
            let pages = &mut self.pages.as_mut_slice().w()?[..bytes.len()];
            let parts = pages.par_chunks_mut(PART).zip(bytes.par_chunks(PART));
            parts.for_each(|(to, from)| to.copy_from_slice(from));
            let stream = device.cuda_stream();
            // SAFETY: there are so many bytes at `to`; the pages stay as they are until the event.
            unsafe { result::memcpy_htod_async(to, pages, stream.cu_stream()) }.w()?;
            self.copied.record(&stream).w()
        }
    }

    /// A number that is being copied to the host.
    pub(super) struct Copied {
        page: Option<PinnedHostSlice<f64>>,
        device: DeviceId,
    }

    impl Copied {
        pub(super) fn of(number: &Tensor, device: &CudaDevice) -> Result<Self> {
            let stream = device.cuda_stream();
            let free = FREE.with_borrow_mut(|free| free.entry(device.id()).or_default().pop());
            let mut page = match free {
                Some(page) => page,
                // SAFETY: it is written before it is read.
                None => unsafe { stream.context().alloc_pinned_with_flags(1, 0) }.w()?,
            };
            let (storage, layout) = number.storage_and_layout();
            let (Storage::Cuda(storage), 1) = (&*storage, number.elem_count()) else {
                bail!("one number on a GPU is read, got {:?}", number.shape())
            };
            let at = layout.start_offset();
            stream.memcpy_dtoh(&storage.as_cuda_slice::<f64>()?.slice(at..at + 1), &mut page).w()?;
            Ok(Self { page: Some(page), device: device.id() })
        }

        pub(super) fn read(self) -> Result<f64> {
            match &self.page {
                Some(page) => Ok(page.as_slice().w()?[0]),
                None => bail!("there is no page"),
            }
        }
    }

    /// The page can be used again.
    impl Drop for Copied {
        fn drop(&mut self) {
            let page = self.page.take();
            // not when the thread ends
            _ = FREE.try_with(|free| free.borrow_mut().entry(self.device).or_default().extend(page));
        }
    }
}
