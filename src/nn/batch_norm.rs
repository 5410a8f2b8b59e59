//! Batch normalization (Ioffe and Szegedy 2015, arXiv 1502.03167), with an optional residual addition and ReLU in the
//! same operator.

use candle_core::{D, DType, Device, Result, Tensor, bail};

use super::cpu::Real;
use super::cpu::batch_norm as kernel;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// ε, added to the variance; PyTorch's default.
const EPS: f64 = 1e-5;

/// Batch mean and variance of each channel, `[c]`.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// Mean.
    pub mean: Tensor,
    /// Unbiased variance, used for the running statistics.
    pub variance: Tensor,
}

/// The operation fused after the normalization.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// Add this residual, then ReLU.
    AddRelu(&'a Value),
}

impl Then<'_> {
    pub(crate) fn residual(&self) -> Option<&Value> {
        if let Self::AddRelu(residual) = self { Some(residual) } else { None }
    }

    fn has_relu(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// Mean and variance of each channel of a batch. They can be kept, so that a channel is read only once.
#[derive(Clone, Debug)]
pub struct Moments {
    values: MeanVariance,
    /// Number of elements per channel.
    count: usize,
    dtype: DType,
}

/// Mean and biased variance, on the host or on the device.
#[derive(Clone, Debug)]
enum MeanVariance {
    Host(kernel::Moments),
    /// `[3, c]`: and the unbiased variance.
    Device(Tensor),
}

impl Moments {
    /// Computes the moments of `x [.., c]`.
    ///
    /// # Errors
    /// Only one value per channel, so that the variance is undefined.
    pub fn compute(x: &Value) -> Result<Self> {
        let x = x.tensor();
        let channels = x.dim(D::Minus1)?;
        let count = x.elem_count() / channels.max(1);
        if count < 2 {
            bail!("batch norm in training needs more than one value per channel, got {:?}", x.shape());
        }
        let values = if cuda::serves(x) {
            MeanVariance::Device(cuda::batch_norm::moments(x)?)
        } else {
            let x = x.contiguous()?;
            MeanVariance::Host(
                with_real!(x.dtype(), T => with_slice(&x, |x: &[T]| kernel::moments(x, channels))?),
            )
        };
        Ok(Self { values, count, dtype: x.dtype() })
    }

    /// Appends the moments of further channels of the same pixels.
    ///
    /// # Errors
    /// The two are on different devices.
    pub fn concat(self, more: Self) -> Result<Self> {
        let values = match (self.values, more.values) {
            (MeanVariance::Host(mut all), MeanVariance::Host(more)) => {
                all.mean.extend(more.mean);
                all.variance.extend(more.variance);
                MeanVariance::Host(all)
            }
            (MeanVariance::Device(all), MeanVariance::Device(more)) => {
                MeanVariance::Device(cuda::elementwise::side_by_side(&all, &more)?)
            }
            _ => bail!("moments on different devices"),
        };
        Ok(Self { values, ..self })
    }

    /// The batch statistics, for updating running statistics.
    ///
    /// # Errors
    /// candle cannot make a tensor.
    pub fn statistics(&self) -> Result<BatchStatistics> {
        let (mean, variance) = match &self.values {
            MeanVariance::Device(all) => {
                return Ok(BatchStatistics { mean: all.get(0)?, variance: all.get(2)? });
            }
            MeanVariance::Host(kernel::Moments { mean, variance }) => {
                let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu)?.to_dtype(self.dtype);
                (tensor(mean)?, tensor(variance)?)
            }
        };
        let unbiased = self.count as f64 / (self.count - 1) as f64;
        Ok(BatchStatistics { mean, variance: (variance * unbiased)? })
    }
}

/// Normalizes `x [.., c]` by its own `moments`, scales by `weight [c]`, shifts by `bias [c]`, and applies `then`. The
/// gradient flows through the moments, too.
///
/// # Errors
/// The shapes do not match.
pub fn batch_norm_train(
    x: &Value,
    moments: &Moments,
    weight: &Value,
    bias: &Value,
    then: Then<'_>,
) -> Result<Value> {
    match &moments.values {
        MeanVariance::Host(moments) => {
            BatchNorm::new(moments.clone(), true, then).apply(x, weight, bias, then)
        }
        MeanVariance::Device(all) => on_device(x, (&all.get(0)?, &all.get(1)?), true, weight, bias, then),
    }
}

/// Normalizes `x [.., c]` by given statistics `[c]`, scales, shifts, and applies `then`.
///
/// # Errors
/// The shapes do not match.
pub fn batch_norm_eval(
    x: &Value,
    weight: &Value,
    bias: &Value,
    (mean, variance): (&Tensor, &Tensor),
    then: Then<'_>,
) -> Result<Value> {
    if cuda::serves(x.tensor()) {
        return on_device(x, (mean, variance), false, weight, bias, then);
    }
    BatchNorm::by_statistics((mean, variance), then)?.apply(x, weight, bias, then)
}

/// Passes the map of a [`batch_norm_eval`] of a tensor with these dimensions to `f`, for an operator on the CPU that
/// normalizes its result itself.
///
/// # Errors
/// The shapes do not match.
pub(crate) fn with_eval_map<T: Real, R>(
    dims: &[usize],
    (weight, bias): (&Value, &Value),
    statistics: (&Tensor, &Tensor),
    then: Then<'_>,
    f: impl FnOnce(&kernel::Map<'_, T>) -> R,
) -> Result<R> {
    let norm = BatchNorm::by_statistics(statistics, then)?;
    norm.check(dims, weight, bias, then.residual())?;
    norm.with_map(weight.tensor(), bias.tensor(), then.residual().map(Value::tensor), f)
}

fn on_device(
    x: &Value,
    (mean, variance): (&Tensor, &Tensor),
    own: bool,
    weight: &Value,
    bias: &Value,
    then: Then<'_>,
) -> Result<Value> {
    let (mean, variance) = (mean.contiguous()?, variance.contiguous()?);
    let statistics = cuda::batch_norm::Statistics { mean, variance, own, eps: EPS };
    cuda::batch_norm::batch_norm(x, statistics, weight, bias, then.residual(), then.has_relu())
}

/// The elements of a tensor.
fn elements<T: Real>(tensor: &Tensor) -> Result<Vec<T>> {
    with_slice(&tensor.contiguous()?, <[T]>::to_vec)
}

/// Converts f64 values to the type that a kernel computes with.
fn narrow<T: Real>(values: impl IntoIterator<Item = f64>) -> Vec<T> {
    values.into_iter().map(T::from_f64).collect()
}

struct BatchNorm {
    moments: kernel::Moments,
    inverse_std: Vec<f64>,
    /// Whether the moments are those of the batch, so that the gradient flows through them.
    own: bool,
    relu: bool,
}

impl BatchNorm {
    fn new(moments: kernel::Moments, own: bool, then: Then<'_>) -> Self {
        let inverse_std = moments.variance.iter().map(|v| 1.0 / (v + EPS).sqrt()).collect();
        Self { moments, inverse_std, own, relu: then.has_relu() }
    }

    /// With given mean and variance.
    fn by_statistics((mean, variance): (&Tensor, &Tensor), then: Then<'_>) -> Result<Self> {
        let widen = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>();
        let moments = kernel::Moments { mean: widen(mean)?, variance: widen(variance)? };
        Ok(Self::new(moments, false, then))
    }

    fn check(&self, dims: &[usize], weight: &Value, bias: &Value, residual: Option<&Value>) -> Result<()> {
        let channels = [self.inverse_std.len()];
        let fits = residual.is_none_or(|residual| residual.dims() == dims);
        if [weight.dims(), bias.dims()] != [channels; 2] || dims.last() != channels.last() || !fits {
            bail!("batch norm of {channels:?} channels does not match images {dims:?} or the residual");
        }
        Ok(())
    }

    fn apply(self, x: &Value, weight: &Value, bias: &Value, then: Then<'_>) -> Result<Value> {
        let residual = then.residual();
        self.check(x.dims(), weight, bias, residual)?;
        let (input, scale) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
        let y = with_real!(input.dtype(), T => {
            let forward = |map: &kernel::Map<'_, T>| with_slice(&input, |x| map.apply(x));
            let y = self.with_map(&scale, bias.tensor(), residual.map(Value::tensor), forward)?;
            on_cpu(y?, x.dims())?
        });
        let output = self.relu.then(|| y.clone());
        let mut tracked = vec![x, weight, bias];
        tracked.extend(residual);
        let of_residual = residual.is_some_and(Value::is_tracked);
        Ok(Value::result(
            y,
            &tracked,
            move |gy| with_real!(input.dtype(), T => self.backward::<T>(&input, &scale, output, of_residual, gy)),
        ))
    }

    fn with_map<T: Real, R>(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        residual: Option<&Tensor>,
        f: impl FnOnce(&kernel::Map<'_, T>) -> R,
    ) -> Result<R> {
        let channels = self.inverse_std.len();
        let (weight, bias) = (elements::<T>(weight)?, elements::<T>(bias)?);
        let scale = |c: usize| weight[c].to_f64() * self.inverse_std[c];
        let shift = |c: usize| bias[c].to_f64() - scale(c) * self.moments.mean[c];
        let scales: Vec<T> = narrow((0..channels).map(scale));
        let shifts: Vec<T> = narrow((0..channels).map(shift));
        let with = |residual: Option<&[T]>| {
            f(&kernel::Map { scale: &scales, shift: &shifts, residual, relu: self.relu })
        };
        match residual {
            Some(residual) => with_slice(&residual.contiguous()?, |residual| with(Some(residual))),
            None => Ok(with(None)),
        }
    }

    /// Gradients of images, weight and bias, and of the residual if `of_residual`. `y` is the output if a ReLU follows.
    fn backward<T: Real>(
        &self,
        x: &Tensor,
        weight: &Tensor,
        mut y: Option<Tensor>,
        of_residual: bool,
        gy: Tensor,
    ) -> Result<Vec<Option<Tensor>>> {
        let mut g = gy.contiguous()?;
        if of_residual && let Some(y) = y.take() {
            // The gradient behind the ReLU is the residual's gradient: computed once, used by all.
            let passed = with_slice(&y, |y| with_slice(&g, |g| kernel::relu_gradient::<T>(y, g)))??;
            g = on_cpu(passed, g.dims())?;
        }
        let weight = elements::<T>(weight)?;
        let of = |y: Option<&[T]>| {
            with_slice(&g, |g| with_slice(x, |x| self.gradients(kernel::Gradient { g, y }, x, &weight)))
        };
        let gradients = match &y {
            Some(y) => with_slice(y, |y| of(Some(y)))?,
            None => of(None),
        };
        let (gx, gweight, gbias) = gradients??;
        let channels = [weight.len()];
        let mut gradients = vec![
            Some(on_cpu(gx, x.dims())?),
            Some(on_cpu(gweight, &channels)?),
            Some(on_cpu(gbias, &channels)?),
        ];
        if of_residual {
            gradients.push(Some(g));
        }
        Ok(gradients)
    }

    /// With x̂ = (x − mean) / std over m values: gx = weight / std · (g − Σg / m − x̂ · Σ(g x̂) / m), written as
    /// a · g + b · x + c. With given statistics the two sums are dropped.
    fn gradients<T: Real>(
        &self,
        gradient: kernel::Gradient<'_, T>,
        x: &[T],
        weight: &[T],
    ) -> (Vec<T>, Vec<T>, Vec<T>) {
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
        let a = |c: usize| weight[c].to_f64() * inverse_std[c];
        let b = |c: usize| -a(c) * inverse_std[c] * scale[c] * follow;
        let c = |c: usize| -a(c) * shift[c] * follow - b(c) * mean[c];
        let factors = kernel::Combination {
            a: narrow((0..channels).map(a)),
            b: narrow((0..channels).map(b)),
            c: narrow((0..channels).map(c)),
        };
        (kernel::combine(gradient, x, &factors), narrow(scale), narrow(shift))
    }
}
