//! Opening a GPU.

use candle_core::{Device, Result};

/// A GPU with one stream for all threads. With [`Device::new_cuda`], each thread has its own stream, and streams do not
/// wait for each other: a checkpoint read by one thread could be used by another before its copy has finished.
///
/// # Errors
/// There is no such GPU, or the program was built without CUDA.
pub fn open(index: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(index)?;
    #[cfg(feature = "cuda")]
    for_training(&device)?;
    Ok(device)
}

/// Turns off what costs time and gives nothing here: events that order streams, of which there is one; and returning
/// freed memory to the driver whenever the device is waited for. Without these events, cudarc does not wait for copies to
/// and from pinned memory either: `transfer` has its own.
#[cfg(feature = "cuda")]
fn for_training(device: &Device) -> Result<()> {
    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::driver::{result, sys};

    let device = device.as_cuda_device()?;
    give_workspace(device)?;
    // SAFETY: all work is on one stream.
    unsafe { device.disable_event_tracking() };
    let mut keep = u64::MAX;
    // SAFETY: the device is open, and the attribute takes a u64.
    unsafe {
        let pool = result::device::get_mem_pool(device.cuda_stream().context().cu_device()).w()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool, attribute, std::ptr::from_mut(&mut keep).cast()).result().w()
    }
}

/// Gives cuBLAS memory for its products, as much as it takes by itself on a large GPU. Its own would not do for steps
/// that are captured; with the same for all, they choose the same algorithms as others.
#[cfg(feature = "cuda")]
fn give_workspace(device: &candle_core::CudaDevice) -> Result<()> {
    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::cublas::sys;

    const BYTES: usize = 32 << 20;
    // SAFETY: cuBLAS writes there before it reads.
    let workspace = unsafe { device.alloc::<u8>(BYTES) }?;
    // SAFETY: both exist for as long as the process: the memory is leaked.
    unsafe { sys::cublasSetWorkspace_v2(*device.cublas_handle().handle(), workspace.leak() as *mut _, BYTES) }
        .result()
        .w()
}
