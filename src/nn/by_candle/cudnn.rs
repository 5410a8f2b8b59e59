//! cuDNN's convolution and its two gradients, with deterministic algorithms.
//!
//! Images are converted from `[n, h, w, c]` to `[n, c, h, w]` and back around each call: in that layout every algorithm
//! supports every shape in f32.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cudnn::safe::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, FilterDescriptor,
    TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t, cudnnConvolutionBwdFilterAlgo_t, cudnnConvolutionFwdAlgo_t,
    cudnnConvolutionMode_t, cudnnMathType_t, cudnnTensorFormat_t,
};
use candle_core::cuda_backend::cudarc::cudnn::{CudnnDataType, CudnnError};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr, ValidAsZeroBits};
use candle_core::cuda_backend::{CudaDType, CudaDevice};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};
use half::bf16;

use identity::Precision;

use super::precision::{in_precision, precision};
use crate::Value;
use crate::cpu::ConvShape;

thread_local! {
    /// One handle per device of this thread; handles must not be shared between threads.
    static HANDLES: RefCell<HashMap<String, Arc<Cudnn>>> = RefCell::default();
}

/// See [`conv2d`](crate::conv2d::conv2d); the shapes are already checked.
pub(super) fn conv2d(x: &Value, weight: &Value, shape: &ConvShape) -> Result<Value> {
    let shape = *shape;
    let input = x.tensor().permute((0, 3, 1, 2))?.contiguous()?;
    let kernels = weight.tensor().contiguous()?;
    let y = apply(Pass::Forward, &input, &kernels, shape)?.permute((0, 2, 3, 1))?.contiguous()?;
    let (of_input, of_kernels) = (x.is_tracked(), weight.is_tracked());
    let (input, kernels) = (of_kernels.then_some(input), of_input.then_some(kernels));
    Ok(Value::result(y, &[x, weight], move |gy| {
        let gy = gy.permute((0, 3, 1, 2))?.contiguous()?;
        let gw = input.map(|input| apply(Pass::Kernels, &input, &gy, shape)).transpose()?;
        let gx = kernels.map(|kernels| -> Result<Tensor> {
            apply(Pass::Images, &gy, &kernels, shape)?.permute((0, 2, 3, 1))?.contiguous()
        });
        Ok(vec![gx.transpose()?, gw])
    }))
}

fn apply(pass: Pass, a: &Tensor, b: &Tensor, shape: ConvShape) -> Result<Tensor> {
    in_precision(a, b, |a, b| a.apply_op2_no_bwd(b, &Convolution { pass, shape }))
}

/// What is computed, from two tensors.
#[derive(Clone, Copy)]
enum Pass {
    /// The output, from images and kernels.
    Forward,
    /// Gradient of the images, from the output gradient and the kernels.
    Images,
    /// Gradient of the kernels, from the images and the output gradient.
    Kernels,
}

struct Convolution {
    pass: Pass,
    shape: ConvShape,
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        "cudnn_convolution"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("cuDNN runs only on GPUs")
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        al: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (dtype, device) = (a.dtype(), a.device().clone());
        let storage = match dtype {
            DType::F32 => self.compute::<f32, f32>(view(a, al)?, view(b, bl)?, &device)?,
            DType::BF16 => self.compute::<bf16, f32>(view(a, al)?, view(b, bl)?, &device)?,
            other => bail!("cuDNN convolutions support f32 and bf16 here, got {other:?}"),
        };
        Ok((storage, Shape::from(self.result())))
    }
}

/// View of a contiguous argument.
fn view<'a, T: CudaDType>(storage: &'a CudaStorage, layout: &Layout) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<T>()?.slice(start..end)),
        None => bail!("a cuDNN convolution needs a contiguous tensor"),
    }
}

impl Convolution {
    /// Dimensions of the output.
    fn result(&self) -> Vec<usize> {
        let dims = match self.pass {
            Pass::Forward => output(&self.shape),
            Pass::Images => images(&self.shape),
            Pass::Kernels => kernels(&self.shape),
        };
        dims.map(|dim| dim as usize).to_vec()
    }

    /// Computes with elements `T` and accumulation in `C`.
    fn compute<T, C>(
        &self,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        device: &CudaDevice,
    ) -> Result<CudaStorage>
    where
        T: CudnnDataType + DeviceRepr + ValidAsZeroBits + CudaDType + WithDType,
        C: CudnnDataType,
    {
        let cudnn = handle(device)?;
        let descriptors = Descriptors::<T, C>::new(&cudnn, &self.shape).map_err(failed)?;
        let len: usize = self.result().iter().product();
        let mut result = device.alloc_zeros::<T>(len)?;
        match self.pass {
            Pass::Forward => descriptors.forward(&a, &b, &mut result, device)?,
            Pass::Images => descriptors.images(&a, &b, &mut result, device)?,
            Pass::Kernels => descriptors.kernels(&a, &b, &mut result, device)?,
        }
        Ok(CudaStorage::wrap_cuda_slice(result, device.clone()))
    }
}

fn images(shape: &ConvShape) -> [i32; 4] {
    [shape.n, shape.ci, shape.h, shape.w].map(|dim| dim as i32)
}

fn kernels(shape: &ConvShape) -> [i32; 4] {
    [shape.co, shape.ci_group(), shape.kh, shape.kw].map(|dim| dim as i32)
}

fn output(shape: &ConvShape) -> [i32; 4] {
    [shape.n, shape.co, shape.oh(), shape.ow()].map(|dim| dim as i32)
}

/// cuDNN's descriptors of a convolution.
struct Descriptors<T, C> {
    conv: ConvDescriptor<C>,
    x: TensorDescriptor<T>,
    w: FilterDescriptor<T>,
    y: TensorDescriptor<T>,
}

impl<T, C> Descriptors<T, C>
where
    T: CudnnDataType + DeviceRepr + ValidAsZeroBits + WithDType,
    C: CudnnDataType,
{
    fn new(cudnn: &Arc<Cudnn>, shape: &ConvShape) -> std::result::Result<Self, CudnnError> {
        let both = |number: usize| [number as i32; 2];
        let mode = cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let mut conv =
            cudnn.create_conv2d::<C>(both(shape.padding), both(shape.stride), both(shape.dilation), mode)?;
        conv.set_group_count(shape.groups as i32)?;
        conv.set_math_type(math_type())?;
        let format = cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        Ok(Self {
            conv,
            x: cudnn.create_4d_tensor::<T>(format, images(shape))?,
            w: cudnn.create_4d_filter::<T>(format, kernels(shape))?,
            y: cudnn.create_4d_tensor::<T>(format, output(shape))?,
        })
    }

    fn forward(
        &self,
        x: &CudaView<'_, T>,
        w: &CudaView<'_, T>,
        y: &mut CudaSlice<T>,
        on: &CudaDevice,
    ) -> Result<()> {
        let operation = ConvForward { conv: &self.conv, x: &self.x, w: &self.w, y: &self.y };
        let algorithm = cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
        let mut room = workspace(operation.get_workspace_size(algorithm), on)?;
        // SAFETY: the descriptors give the sizes and the layout of these slices.
        unsafe { operation.launch(algorithm, Some(&mut room), (T::one(), T::zero()), x, w, y) }
            .map_err(failed)
    }

    /// Gradient of the images. The algorithm accumulates in a fixed order, unlike algorithm 0.
    fn images(
        &self,
        gy: &CudaView<'_, T>,
        w: &CudaView<'_, T>,
        gx: &mut CudaSlice<T>,
        on: &CudaDevice,
    ) -> Result<()> {
        let operation = ConvBackwardData { conv: &self.conv, dx: &self.x, w: &self.w, dy: &self.y };
        let algorithm = cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
        let mut room = workspace(operation.get_workspace_size(algorithm), on)?;
        // SAFETY: the descriptors give the sizes and the layout of these slices.
        unsafe { operation.launch(algorithm, Some(&mut room), (T::one(), T::zero()), gx, w, gy) }
            .map_err(failed)
    }

    /// Gradient of the kernels. The algorithm accumulates in a fixed order, unlike algorithms 0 and 3.
    fn kernels(
        &self,
        x: &CudaView<'_, T>,
        gy: &CudaView<'_, T>,
        gw: &mut CudaSlice<T>,
        on: &CudaDevice,
    ) -> Result<()> {
        let operation = ConvBackwardFilter { conv: &self.conv, x: &self.x, dw: &self.w, dy: &self.y };
        let algorithm = cudnnConvolutionBwdFilterAlgo_t::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
        let mut room = workspace(operation.get_workspace_size(algorithm), on)?;
        // SAFETY: the descriptors give the sizes and the layout of these slices.
        unsafe { operation.launch(algorithm, Some(&mut room), (T::one(), T::zero()), x, gw, gy) }
            .map_err(failed)
    }
}

/// A workspace of the given size in bytes; at least 1, since CUDA does not allocate 0 bytes.
fn workspace(bytes: std::result::Result<usize, CudnnError>, device: &CudaDevice) -> Result<CudaSlice<u8>> {
    device.alloc_zeros::<u8>(bytes.map_err(failed)?.max(1))
}

/// Math type for the current precision; cuDNN's default silently uses TF32 for f32.
fn math_type() -> cudnnMathType_t {
    match precision() {
        Precision::F32 => cudnnMathType_t::CUDNN_FMA_MATH,
        Precision::Tf32 => cudnnMathType_t::CUDNN_DEFAULT_MATH,
        Precision::Bf16 => cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
    }
}

fn handle(device: &CudaDevice) -> Result<Arc<Cudnn>> {
    let key = format!("{:?}", device.id());
    if let Some(handle) = HANDLES.with_borrow(|handles| handles.get(&key).cloned()) {
        return Ok(handle);
    }
    let handle = Cudnn::new(device.cuda_stream()).map_err(failed)?;
    HANDLES.with_borrow_mut(|handles| handles.insert(key, Arc::clone(&handle)));
    Ok(handle)
}

fn failed(error: CudnnError) -> candle_core::Error {
    candle_core::Error::Msg(format!("cuDNN failed: {error}"))
}
