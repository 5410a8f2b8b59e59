//! Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167), with an optional residual addition and
//! relu in the same operator.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};

use super::cpu::Real;
use super::cpu::batch_norm as kernel;
use super::{slice, with_real, with_slice};

/// Added to the variance; PyTorch's default.
const EPS: f64 = 1e-5;

/// A batch's mean and variance of each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchStatistics {
    /// Mean.
    pub mean: Vec<f32>,
    /// Unbiased variance, the one that running statistics follow.
    pub variance: Vec<f32>,
}

/// What follows the normalisation.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// Relu.
    Relu,
    /// Add this, then relu.
    AddRelu(&'a Tensor),
}

/// Mean and variance of each channel of a batch. Channels whose moments are known need not be read again.
#[derive(Clone, Debug)]
pub struct Moments {
    moments: kernel::Moments,
    /// Values of a channel.
    count: usize,
}

impl Moments {
    /// Of `x [.., c]`.
    ///
    /// # Errors
    /// A single value per channel, whose variance is undefined.
    pub fn of(x: &Tensor) -> Result<Self> {
        let channels = x.dim(D::Minus1)?;
        let count = x.elem_count() / channels.max(1);
        if count < 2 {
            bail!("batch norm in training needs more than one value per channel, got {:?}", x.shape());
        }
        let x = x.contiguous()?;
        let moments = with_real!(x.dtype(), T => with_slice(&x, |x: &[T]| kernel::moments(x, channels))?);
        Ok(Self { moments, count })
    }

    /// Those of the same pixels with more channels beside.
    pub fn beside(mut self, more: Self) -> Self {
        self.moments.mean.extend(more.moments.mean);
        self.moments.variance.extend(more.moments.variance);
        self
    }

    /// What running statistics follow.
    pub fn statistics(&self) -> BatchStatistics {
        let unbiased = self.count as f64 / (self.count - 1) as f64;
        BatchStatistics {
            mean: self.moments.mean.iter().map(|m| *m as f32).collect(),
            variance: self.moments.variance.iter().map(|v| (v * unbiased) as f32).collect(),
        }
    }
}

/// Normalise `x [.., c]` by its own `moments`, scale by `weight [c]`, shift by `bias [c]`, and go on with `then`.
/// The gradient flows through the moments, too.
///
/// # Errors
/// Shapes that do not fit together.
pub fn batch_norm_train(
    x: &Tensor,
    moments: &Moments,
    weight: &Tensor,
    bias: &Tensor,
    then: Then<'_>,
) -> Result<Tensor> {
    BatchNorm::new(moments.moments.clone(), true, then).apply(x, weight, bias, then)
}

/// Normalise `x [.., c]` by given statistics `[c]`, scale, shift, and go on with `then`.
///
/// # Errors
/// Shapes that do not fit together.
pub fn batch_norm_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    (mean, variance): (&Tensor, &Tensor),
    then: Then<'_>,
) -> Result<Tensor> {
    let widen = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>();
    let moments = kernel::Moments { mean: widen(mean)?, variance: widen(variance)? };
    BatchNorm::new(moments, false, then).apply(x, weight, bias, then)
}

/// f64 numbers in the type that a kernel computes with.
fn narrow<T: Real>(numbers: impl IntoIterator<Item = f64>) -> Vec<T> {
    numbers.into_iter().map(T::from_f64).collect()
}

struct BatchNorm {
    moments: kernel::Moments,
    inverse_std: Vec<f64>,
    /// Whether the moments are the images' own, so that the gradient flows through them.
    own: bool,
    relu: bool,
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl BatchNorm {
    fn new(moments: kernel::Moments, own: bool, then: Then<'_>) -> Self {
        let inverse_std = moments.variance.iter().map(|v| 1.0 / (v + EPS).sqrt()).collect();
        Self { moments, inverse_std, own, relu: !matches!(then, Then::Nothing) }
    }

    fn apply(self, x: &Tensor, weight: &Tensor, bias: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let affine = Tensor::stack(&[weight, bias], 0)?.contiguous()?;
        let x = x.contiguous()?;
        match then {
            Then::AddRelu(residual) => x.apply_op3(&affine, &residual.contiguous()?, self),
            _ => x.apply_op2(&affine, self),
        }
    }

    fn forward<T: Real>(&self, x: &[T], affine: &[T], residual: Option<&[T]>) -> Result<CpuStorage> {
        let channels = affine.len() / 2;
        if self.inverse_std.len() != channels || residual.is_some_and(|r| r.len() != x.len()) {
            bail!("batch norm of {channels} channels got statistics or a residual of another size");
        }
        let scale = |c: usize| affine[c].to_f64() * self.inverse_std[c];
        let shift = |c: usize| affine[channels + c].to_f64() - scale(c) * self.moments.mean[c];
        let scales: Vec<T> = narrow((0..channels).map(scale));
        let shifts: Vec<T> = narrow((0..channels).map(shift));
        let y = kernel::apply(x, &scales, &shifts, residual, self.relu);
        Ok(T::to_cpu_storage_owned(y))
    }

    fn backward<T: Real>(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: Option<&Tensor>,
        y: &Tensor,
        gy: &Tensor,
    ) -> Result<Gradients> {
        let mut g = gy.contiguous()?;
        let mut relu = self.relu;
        if residual.is_some_and(Tensor::track_op) && relu {
            // The residual's gradient is what passed the relu: written down once, used by all.
            let passed = with_slice(y, |y| with_slice(&g, |g| kernel::relu_gradient::<T>(y, g)))??;
            g = Tensor::from_vec(passed, g.shape(), g.device())?;
            relu = false;
        }
        let (gx, gaffine) = with_slice(&g, |g: &[T]| {
            with_slice(y, |y| {
                let gradient = kernel::Gradient { g, y: relu.then_some(y) };
                with_slice(x, |x| self.gradients(gradient, x, affine))
            })
        })????;
        let gx = x.track_op().then(|| Tensor::from_vec(gx, x.shape(), x.device())).transpose()?;
        let gresidual = residual.filter(|residual| residual.track_op()).map(|_| g);
        Ok((gx, affine.track_op().then_some(gaffine), gresidual))
    }

    /// With x̂ = (x − mean) / std over m values: gx = weight / std · (g − Σg / m − x̂ · Σ(g x̂) / m), written
    /// as a · g + b · x + c. With given statistics the two sums do not flow back.
    fn gradients<T: Real>(
        &self,
        gradient: kernel::Gradient<'_, T>,
        x: &[T],
        affine: &Tensor,
    ) -> Result<(Vec<T>, Tensor)> {
        let (mean, inverse_std) = (&self.moments.mean, &self.inverse_std);
        let channels = mean.len();
        let (shift, scale) = kernel::sums(
            gradient,
            x,
            &narrow::<T>(mean.iter().copied()),
            &narrow::<T>(inverse_std.iter().copied()),
        );
        let m = (x.len() / channels) as f64;
        let follow = if self.own { 1.0 / m } else { 0.0 };
        let weight: Vec<f64> =
            with_slice(affine, |affine: &[T]| affine[..channels].iter().map(|w| w.to_f64()).collect())?;
        let a = |c: usize| weight[c] * inverse_std[c];
        let b = |c: usize| -a(c) * inverse_std[c] * scale[c] * follow;
        let c = |c: usize| -a(c) * shift[c] * follow - b(c) * mean[c];
        let factors = kernel::Combination {
            a: narrow((0..channels).map(a)),
            b: narrow((0..channels).map(b)),
            c: narrow((0..channels).map(c)),
        };
        let gaffine: Vec<T> = narrow(scale.iter().chain(&shift).copied());
        let gaffine = Tensor::from_vec(gaffine, affine.shape(), affine.device())?;
        Ok((kernel::combine(gradient, x, &factors), gaffine))
    }
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        affine: &CpuStorage,
        al: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = with_real!(x.dtype(), T => self.forward::<T>(slice(x, xl)?, slice(affine, al)?, None)?);
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        y: &Tensor,
        gy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (gx, gaffine, _) = with_real!(x.dtype(), T => self.backward::<T>(x, affine, None, y, gy)?);
        Ok((gx, gaffine))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm_add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        affine: &CpuStorage,
        al: &Layout,
        residual: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = with_real!(x.dtype(), T => {
            self.forward::<T>(slice(x, xl)?, slice(affine, al)?, Some(slice(residual, rl)?))?
        });
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: &Tensor,
        y: &Tensor,
        gy: &Tensor,
    ) -> Result<Gradients> {
        with_real!(x.dtype(), T => self.backward::<T>(x, affine, Some(residual), y, gy))
    }
}
