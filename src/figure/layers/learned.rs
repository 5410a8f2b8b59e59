//! Merge weights learned by `learn_merge_weights` stages.

use candle_core::{Result, bail};
use indexmap::IndexMap;

use merge_method::learned::{left, slices_name, weights_name};
use stage::MergeWeights;

/// The merge weights learned by one stage, and its place in the experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedWeights {
    /// Name of the stage.
    pub stage: String,
    /// Id of the stage, `name[axis=value,…]`, for messages.
    pub id: String,
    /// Values of the sweep axes that it depends on.
    pub at: IndexMap<String, String>,
    /// Names of the source stages, in order.
    pub sources: Vec<String>,
    /// Layers, in network order.
    pub layers: Vec<LayerWeights>,
}

/// The merge weights of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerWeights {
    /// Name of the layer: `layer1.0.conv1`.
    pub layer: String,
    /// Merge weights, `[sources][kernels]`, or of each slice of the kernels, if they have their own.
    pub weights: Vec<Vec<f32>>,
    /// Whether each slice of its kernels has merge weights of its own.
    pub of_slices: bool,
}

/// The merge weights of every merged layer, in network order.
///
/// # Errors
/// A layer of the backbone has no merge weights, or for a different number of sources than the first layer.
pub fn layers(learned: &MergeWeights) -> Result<Vec<LayerWeights>> {
    let groups =
        left(&learned.info.backbone.build().kernel_groups(), |name| !learned.tensors.contains_key(name));
    let layer = |group: &backbone::KernelGroup| {
        let slices = group.tensors.iter().find_map(|tensor| learned.tensors.get(&slices_name(tensor)));
        let (layer, of_slices) = (group.layer.clone(), slices.is_some());
        match slices.or(learned.tensors.get(&weights_name(group))) {
            Some(weights) => Ok(LayerWeights { layer, weights: weights.to_vec2()?, of_slices }),
            None => bail!("no merge weights for layer `{}`", group.layer),
        }
    };
    let layers = groups.iter().map(layer).collect::<Result<Vec<_>>>()?;
    let sources = layers.first().map_or(0, |layer| layer.weights.len());
    match layers.iter().find(|layer| layer.weights.len() != sources) {
        Some(other) => bail!(
            "layer `{}` has merge weights for {} sources, not {sources}",
            other.layer,
            other.weights.len()
        ),
        None => Ok(layers),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use nn::Normalize;
    use stage::ModelInfo;

    fn learned() -> MergeWeights {
        let backbone = toml::from_str("resnet18 = { stem = \"small\", width = 4 }").unwrap();
        let info = ModelInfo {
            backbone,
            normalize: Normalize::default(),
            head: None,
            preprocessing: Default::default(),
        };
        let groups = info.backbone.build().kernel_groups();
        let ones = |kernels: usize| Tensor::ones((2, kernels), DType::F32, &Device::Cpu).unwrap();
        let tensors = groups.iter().map(|group| (weights_name(group), ones(group.kernels))).collect();
        MergeWeights { info, tensors, history: Vec::new() }
    }

    #[test]
    fn layers_are_in_network_order() {
        let layers = layers(&learned()).unwrap();
        let names: Vec<&str> = layers.iter().map(|layer| layer.layer.as_str()).collect();
        assert_eq!(names[..3], ["conv1", "layer1.0.conv1", "layer1.0.conv2"]);
        let places = ["layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv1", "layer4.1.conv2"]
            .map(|name| names.iter().position(|other| *other == name).unwrap());
        assert_eq!(places, [6, 7, 8, 19]);
        assert_eq!(layers[0].weights, [[1.0; 4], [1.0; 4]]);
    }

    #[test]
    fn slices_stand_for_the_kernels_that_they_are_parts_of() {
        let mut learned = learned();
        let slices = Tensor::full(0.5f32, (2, 4 * 4), &Device::Cpu).unwrap();
        learned.tensors.insert(slices_name("layer1.0.conv1.weight"), slices);
        let layers = layers(&learned).unwrap();
        let of = |name: &str| &layers.iter().find(|layer| layer.layer == name).unwrap().weights;
        assert_eq!(of("layer1.0.conv1")[..], [[0.5; 16], [0.5; 16]]);
        assert_eq!(of("layer1.0.conv2")[..], [[1.0; 4], [1.0; 4]]);
    }

    /// DenseNet's first norm has no convolution before it: a layer of its own, which is not merged with `norms = "anchor"`.
    #[test]
    fn layers_that_stay_the_anchors_are_left_out() {
        let mut learned = learned();
        learned.info.backbone = toml::from_str("densenet121 = {}").unwrap();
        let parameters = learned.info.backbone.build().parameters();
        let groups = learned.info.backbone.build().kernel_groups();
        let is_norm = |name: &String| name.contains("norm");
        let kept = |group: &&backbone::KernelGroup| group.tensors.iter().all(is_norm);
        let alone: Vec<&backbone::KernelGroup> = groups.iter().filter(kept).collect();
        assert!(!alone.is_empty());
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let weights = groups.iter().filter(|group| !kept(group));
        let weights = weights.map(|group| (weights_name(group), ones(&[2, group.kernels])));
        let norms = parameters.iter().filter(|parameter| is_norm(&parameter.name));
        let norms = norms.map(|parameter| (parameter.name.clone(), ones(&parameter.shape)));
        learned.tensors = weights.chain(norms).collect();
        let layers = layers(&learned).unwrap();
        assert_eq!(layers.len(), groups.len() - alone.len());
        assert!(layers.iter().all(|layer| alone.iter().all(|group| group.layer != layer.layer)));
    }

    #[test]
    fn missing_merge_weights_and_other_numbers_of_sources_are_errors() {
        let mut less = learned();
        less.tensors.remove("layer1.0.conv1.merge_weights");
        assert!(
            layers(&less).unwrap_err().to_string().contains("no merge weights for layer `layer1.0.conv1`")
        );
        let mut three = learned();
        let other = Tensor::ones((3, 4), DType::F32, &Device::Cpu).unwrap();
        three.tensors.insert("layer1.0.conv1.merge_weights".into(), other);
        let error = layers(&three).unwrap_err().to_string();
        assert!(error.contains("`layer1.0.conv1` has merge weights for 3 sources, not 2"), "{error}");
    }
}
