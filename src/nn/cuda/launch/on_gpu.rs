//! Launches on a GPU, of kernels that are loaded once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaModule, DevicePtr, result};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDType, CudaDevice, DeviceId, WrapErr};
use candle_core::{CudaStorage, DType, Result, bail};

use crate::cuda::graph::needed_before;

/// Machine code for the architectures that `build.rs` names, and PTX for later ones.
static KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

thread_local! {
    static LOADED: RefCell<HashMap<DeviceId, Loaded>> = RefCell::default();
}

/// The kernels on a device.
struct Loaded {
    module: Arc<CudaModule>,
    functions: HashMap<(&'static str, &'static str), CudaFunction>,
}

impl Loaded {
    fn function(&mut self, (kernel, suffix): (&'static str, &'static str)) -> Result<&CudaFunction> {
        use std::collections::hash_map::Entry;
        match self.functions.entry((kernel, suffix)) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(missing) => {
                needed_before("what a kernel needs on the device")?;
                Ok(missing.insert(self.module.load_function(&format!("{kernel}_{suffix}")).w()?))
            }
        }
    }
}

pub(super) fn launch(
    device: &CudaDevice,
    name: (&'static str, &'static str),
    arguments: &mut [*mut c_void],
    grid: [u32; 3],
    block: [u32; 3],
) -> Result<()> {
    LOADED.with_borrow_mut(|devices| {
        if !devices.contains_key(&device.id()) {
            let module =
                device.cuda_stream().context().load_module(Ptx::from_binary(KERNELS.to_vec())).w()?;
            devices.insert(device.id(), Loaded { module, functions: HashMap::new() });
        }
        let loaded = devices.get_mut(&device.id()).expect("just loaded");
        let function = loaded.function(name)?.cu_function();
        let stream = device.cuda_stream();
        // SAFETY: `Launch` passes what the kernel declares; memory that a launched kernel uses is freed in the
        // order of its stream.
        unsafe {
            let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
            result::launch_kernel(function, (gx, gy, gz), (bx, by, bz), 0, stream.cu_stream(), arguments)
        }
        .w()
    })
}

pub(super) fn address(storage: &CudaStorage) -> Result<u64> {
    fn of<T: CudaDType>(storage: &CudaStorage) -> Result<u64> {
        Ok(storage.as_cuda_slice::<T>()?.device_ptr(&storage.device.cuda_stream()).0)
    }
    match candle_core::backend::BackendStorage::dtype(storage) {
        DType::U8 => of::<u8>(storage),
        DType::U32 => of::<u32>(storage),
        DType::I64 => of::<i64>(storage),
        DType::BF16 => of::<half::bf16>(storage),
        DType::F32 => of::<f32>(storage),
        DType::F64 => of::<f64>(storage),
        other => bail!("GPU kernels take no {other:?}"),
    }
}
