//! Observing the inputs of a network's layers.

use candle_core::{DType, Result, Tensor, bail};

use super::conv2d::{ConvOptions, conv2d};
use super::cpu::linear as kernel;
use super::linear::linear;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// Name under which the input of the last pool of a convolutional network is observed.
pub const POOL: &str = "avgpool";

/// Elements of the patches handled at a time: 64 MiB in f32.
const PIECE: usize = 1 << 24;

/// Callback for the name and the input of each layer with kernels, and of the last [pool](POOL).
pub type Watch<'a> = dyn Fn(&str, LayerInput<'_>) -> Result<()> + 'a;

/// The input of a layer with kernels.
#[derive(Clone, Copy)]
pub enum LayerInput<'a> {
    /// Input of a linear layer: `[.., in]`.
    Rows(&'a Tensor),
    /// Input of a convolution.
    Images {
        /// `[n, h, w, ci]`
        x: &'a Tensor,
        /// Height and width of the kernels.
        kernel: [usize; 2],
        /// Stride, padding, dilation and groups.
        options: ConvOptions,
    },
}

impl LayerInput<'_> {
    /// Gram matrix Xᵀ·X of the rows that are multiplied with the kernels, `[in, in]`. For a convolution, a row is the
    /// patch under the kernel at one position, `[kh, kw, ci]`.
    ///
    /// # Errors
    /// The convolution has several groups, which have no common Gram matrix; or a tensor operation failed.
    pub fn gram(&self) -> Result<Tensor> {
        let mut sum = None;
        self.for_each_piece(|rows, _| add_to(&mut sum, product(rows, rows)?))?;
        total(sum)
    }

    /// Normal equations of a linear map from the rows that are multiplied with the kernels to rows of `y`, in f64:
    /// `Xᵀ·X [in, in]` and `Xᵀ·Y [in, out]`, where `y` has a row `[out]` for each position of the layer's output. With
    /// `constant`, a 1 is appended to each row of X, for the map's bias.
    ///
    /// # Errors
    /// As [`LayerInput::gram`].
    pub fn normal_equations(&self, y: &Tensor, constant: bool) -> Result<[Tensor; 2]> {
        let (mut gram, mut products) = (None, None);
        self.for_each_piece(|x, (first, images)| {
            let y = y.narrow(0, first, images)?;
            let y = y.flatten_to(y.rank().saturating_sub(2))?.to_dtype(DType::F64)?;
            let mut x = x.to_dtype(DType::F64)?;
            if constant {
                let ones = Tensor::ones((x.dim(0)?, 1), DType::F64, x.device())?;
                x = Tensor::cat(&[x, ones], 1)?;
            }
            add_to(&mut gram, product(&x, &x)?)?;
            add_to(&mut products, product(&x, &y)?)
        })?;
        Ok([total(gram)?, total(products)?])
    }

    /// Output of the layer with these kernels `[out, ..]`, without bias.
    ///
    /// # Errors
    /// The shapes do not match.
    pub fn output(&self, weight: &Tensor) -> Result<Tensor> {
        let kernels = Value::constant(weight.clone());
        let y = match *self {
            Self::Images { x, options, .. } => conv2d(&Value::constant(x.clone()), &kernels, options)?,
            Self::Rows(x) => {
                let none = Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device())?;
                linear(&Value::constant(x.clone()), &kernels, &Value::constant(none), None)?
            }
        };
        Ok(y.tensor().clone())
    }

    /// Passes the rows that are multiplied with the kernels, `[rows, in]`, to `take`, for some images at a time, with
    /// the first of them and their number.
    fn for_each_piece(&self, mut take: impl FnMut(&Tensor, (usize, usize)) -> Result<()>) -> Result<()> {
        let (x, kernel, options) = match *self {
            Self::Rows(x) => {
                return take(&x.flatten_to(x.rank().saturating_sub(2))?, (0, x.dim(0)?));
            }
            Self::Images { options, .. } if options.groups != 1 => {
                bail!("a convolution in {} groups has no single Gram matrix of its inputs", options.groups)
            }
            Self::Images { x, kernel, options } => (x, kernel, options),
        };
        let (n, h, w, ci) = x.dims4()?;
        let [oh, ow] = [(h, kernel[0]), (w, kernel[1])].map(|(side, taps)| options.result_side(side, taps));
        let patch_elements = (oh * ow * kernel[0] * kernel[1] * ci).max(1);
        let images = (PIECE / patch_elements).max(1);
        for first in (0..n).step_by(images) {
            let count = images.min(n - first);
            let piece = x.narrow(0, first, count)?;
            take(&patches(&piece, kernel, options, [oh, ow])?, (first, count))?;
        }
        Ok(())
    }
}

/// Adds a tensor to a sum that has no terms at first.
///
/// # Errors
/// Shapes differ.
pub fn add_to(sum: &mut Option<Tensor>, tensor: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(sum) => (sum + tensor)?,
        None => tensor,
    });
    Ok(())
}

fn total(sum: Option<Tensor>) -> Result<Tensor> {
    match sum {
        Some(sum) => Ok(sum),
        None => bail!("a layer received no images"),
    }
}

/// Patches of images `[n, h, w, ci]` under a kernel at each position, `[n · oh · ow, kh · kw · ci]`.
fn patches(x: &Tensor, [kh, kw]: [usize; 2], options: ConvOptions, [oh, ow]: [usize; 2]) -> Result<Tensor> {
    let (n, _, _, ci) = x.dims4()?;
    let padding = options.padding;
    let padded = x.pad_with_zeros(1, padding, padding)?.pad_with_zeros(2, padding, padding)?;
    let under = |tap: usize, positions: usize| {
        let at = |position: usize| (position * options.stride + tap * options.dilation) as u32;
        Tensor::from_iter((0..positions).map(at), x.device())
    };
    let mut taps = Vec::new();
    for ky in 0..kh {
        let rows = padded.index_select(&under(ky, oh)?, 1)?;
        for kx in 0..kw {
            taps.push(rows.index_select(&under(kx, ow)?, 2)?);
        }
    }
    Tensor::cat(&taps, 3)?.reshape((n * oh * ow, kh * kw * ci))
}

/// Xᵀ·Y of `x [rows, in]` and `y [rows, out]`: `[in, out]`.
fn product(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let ((rows, inputs), (others, outputs)) = (x.dims2()?, y.dims2()?);
    if rows != others {
        bail!("{rows} rows of inputs do not match {others} rows of outputs");
    }
    if cuda::serves(x) {
        return x.t()?.matmul(y);
    }
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    with_real!(x.dtype(), T => {
        let product = with_slice(&x, |x| with_slice(&y, |y| kernel::weight_gradient::<T>(y, x, (outputs, inputs))))??;
        on_cpu(product, &[inputs, outputs])
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::conv2d::conv2d;
    use crate::layer::{Conv2d, Linear};
    use crate::{Mode, Net, StateDict, Value};

    fn numbers(shape: &[usize], seed: f64) -> Tensor {
        let count: usize = shape.iter().product();
        Tensor::from_iter((0..count).map(|i| (i as f64 * 1.3 + seed).sin()), &Device::Cpu)
            .and_then(|tensor| tensor.reshape(shape))
            .unwrap()
    }

    fn apart(a: &Tensor, b: &Tensor) -> f64 {
        assert_eq!(a.dims(), b.dims());
        let difference = (a - b).and_then(|tensor| tensor.abs()).and_then(|tensor| tensor.flatten_all());
        difference.unwrap().to_vec1::<f64>().unwrap().into_iter().fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn kernels_times_patches_are_the_convolution(
            n in 1..3_usize, side in 3..8_usize, ci in 1..4_usize, kernel in 1..4_usize, stride in 1..3_usize,
            padding in 0..3_usize, dilation in 1..3_usize,
        ) {
            let options = ConvOptions { stride, padding, dilation, groups: 1 };
            let out = options.result_side(side, kernel);
            prop_assume!(out > 0);
            let (x, weight) = (numbers(&[n, side, side, ci], 0.0), numbers(&[2, ci, kernel, kernel], 1.0));
            let y = conv2d(&Value::constant(x.clone()), &Value::constant(weight.clone()), options).unwrap();
            let patches = patches(&x, [kernel; 2], options, [out; 2]).unwrap();
            let rows = weight.permute((0, 2, 3, 1)).unwrap().reshape((2, kernel * kernel * ci)).unwrap();
            let product = patches.matmul(&rows.t().unwrap()).unwrap();
            prop_assert!(apart(&product, &y.tensor().flatten_to(2).unwrap()) < 1e-12);
            let input = LayerInput::Images { x: &x, kernel: [kernel; 2], options };
            let transposed = patches.t().unwrap();
            prop_assert!(apart(&input.gram().unwrap(), &transposed.matmul(&patches).unwrap()) < 1e-10);
            prop_assert!(apart(&input.output(&weight).unwrap(), y.tensor()) == 0.0);
            let [gram, products] = input.normal_equations(y.tensor(), false).unwrap();
            prop_assert!(apart(&gram, &transposed.matmul(&patches).unwrap()) < 1e-10);
            prop_assert!(apart(&products, &transposed.matmul(&product).unwrap()) < 1e-10);
        }
    }

    #[test]
    fn tokens_are_rows() {
        let (x, rows) = (numbers(&[2, 3, 4], 0.5), numbers(&[6, 4], 0.5));
        let gram = LayerInput::Rows(&x).gram().unwrap();
        assert!(apart(&gram, &rows.t().unwrap().matmul(&rows).unwrap()) < 1e-12);
    }

    #[test]
    fn a_constant_is_the_last_input() {
        let (x, y) = (numbers(&[2, 3, 4], 0.5), numbers(&[2, 3, 2], 1.5));
        let ones = Tensor::ones((6, 1), DType::F64, &Device::Cpu).unwrap();
        let rows = Tensor::cat(&[x.flatten_to(1).unwrap(), ones], 1).unwrap();
        let [gram, products] = LayerInput::Rows(&x).normal_equations(&y, true).unwrap();
        assert!(apart(&gram, &rows.t().unwrap().matmul(&rows).unwrap()) < 1e-12);
        let expected = rows.t().unwrap().matmul(&y.flatten_to(1).unwrap()).unwrap();
        assert!(apart(&products, &expected) < 1e-12);
        assert!(LayerInput::Rows(&x).normal_equations(&y.narrow(1, 0, 2).unwrap(), true).is_err());
    }

    #[test]
    fn groups_are_rejected() {
        let x = numbers(&[1, 3, 3, 4], 0.0);
        let options = ConvOptions { groups: 2, ..ConvOptions::default() };
        let refused = LayerInput::Images { x: &x, kernel: [1, 1], options }.gram().unwrap_err();
        assert!(refused.to_string().starts_with("a convolution in 2 groups has no single Gram matrix"));
    }

    #[test]
    fn each_layer_reports_its_input_by_name() {
        let (conv, fc) = (Conv2d::new("conv", 2, 1, 3, ConvOptions::default()), Linear::new("fc", 4, 1));
        let tensors: StateDict = [conv.parameters(), fc.parameters()]
            .concat()
            .into_iter()
            .map(|parameter| (parameter.name, numbers(&parameter.shape, 0.0)))
            .collect();
        let seen = RefCell::new(Vec::new());
        let watch = |name: &str, input: LayerInput<'_>| {
            let shape = match input {
                LayerInput::Rows(x) | LayerInput::Images { x, .. } => x.dims().to_vec(),
            };
            seen.borrow_mut().push((name.to_owned(), shape));
            Ok(())
        };
        let net = Net::new(&tensors, Mode::Eval).watched(&watch);
        conv.forward(&net, &Value::constant(numbers(&[1, 4, 4, 2], 0.0))).unwrap();
        fc.forward(&net, &Value::constant(numbers(&[5, 4], 0.0))).unwrap();
        let expected = [("conv", vec![1, 4, 4, 2]), ("fc", vec![5, 4])];
        assert_eq!(*seen.borrow(), expected.map(|(name, shape)| (name.to_owned(), shape)));
    }
}
