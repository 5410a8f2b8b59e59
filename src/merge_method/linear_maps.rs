//! The linear maps of a network, convolutions as maps of patches, and what least-squares fits of them share.

use backbone::Backbone;
use candle_core::{DType, Result, Tensor, bail};
use nn::cost::product;

/// A layer with a linear map.
pub(crate) struct Layer {
    /// Its name; the weight's is `<name>.weight`.
    pub name: String,
    /// Number of outputs.
    pub outputs: usize,
    /// Number of inputs; of a convolution, the elements of a patch.
    pub inputs: usize,
    /// Whether it has a bias.
    pub has_bias: bool,
}

impl Layer {
    /// Elements of the Gram matrix of its inputs.
    pub(crate) fn gram_elements(&self) -> u64 {
        product([self.inputs as u64, self.inputs as u64])
    }

    /// Name of its weight.
    pub(crate) fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Name of its bias.
    pub(crate) fn bias(&self) -> String {
        format!("{}.bias", self.name)
    }
}

/// The linear maps of a network in `state_dict` order, with a head for `classes` classes (0: no head).
pub(crate) fn layers(backbone: &dyn Backbone, classes: usize) -> Vec<Layer> {
    let parameters = backbone.all_parameters((classes > 0).then_some(classes));
    let layer = |parameter: &nn::init::Parameter| {
        let name = parameter.name.strip_suffix(".weight")?.to_owned();
        let is_map = matches!(parameter.shape.len(), 2 | 4);
        let (outputs, inputs) = (*parameter.shape.first()?, parameter.shape[1..].iter().product());
        let bias = format!("{name}.bias");
        let has_bias = parameters.iter().any(|other| other.name == bias);
        is_map.then_some(Layer { name, outputs, inputs, has_bias })
    };
    parameters.iter().filter_map(layer).collect()
}

/// A layer's weight as `[out, in]`, with inputs in patch order `[kh, kw, ci]`.
///
/// # Errors
/// The weight belongs to no linear map.
pub(crate) fn in_rows(weight: &Tensor) -> Result<Tensor> {
    match *weight.dims() {
        [_, _] => Ok(weight.clone()),
        [co, ci, kh, kw] => weight.permute((0, 2, 3, 1))?.reshape((co, kh * kw * ci)),
        _ => bail!("a linear map cannot have a weight of shape {:?}", weight.dims()),
    }
}

/// The inverse of [`in_rows`], for the shape of `weight`.
///
/// # Errors
/// The number of elements does not match.
pub(crate) fn in_place_of(rows: &Tensor, weight: &Tensor) -> Result<Tensor> {
    match *weight.dims() {
        [co, ci, kh, kw] => rows.reshape((co, kh, kw, ci))?.permute((0, 3, 1, 2))?.contiguous(),
        _ => Ok(rows.clone()),
    }
}

/// The elements of a tensor, row-major, in f64.
///
/// # Errors
/// They cannot be copied to the CPU.
pub(crate) fn elements(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The ridge of each input: a fraction of the mean over the Gram matrices `[inputs, inputs]` of its element on the
/// diagonal. For an input that never occurs, nothing determines the weights; the ridge makes them what they are
/// without measurements.
pub(crate) fn ridge(grams: &[Vec<f64>], inputs: usize, fraction: f64) -> Vec<f64> {
    let mean = |i: usize| grams.iter().map(|gram| gram[i * (inputs + 1)]).sum::<f64>() / grams.len() as f64;
    let of = |mean: f64| if mean == 0.0 { 1.0 } else { fraction * mean };
    (0..inputs).map(|i| of(mean(i))).collect()
}
