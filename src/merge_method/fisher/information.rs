//! The diagonal of a model's Fisher information matrix (arXiv 2111.09832, equation 1).

use candle_core::Tensor;
use dataset::Labeling;
use model::{Checkpoint, Context, KnownDataset, ModelInfo, Networks, StageError, Work};
use nn::cost::{product, sum};
use nn::{Mode, Net, StateDict, Value, gradients, leaves};
use train::epoch::probability_rows;
use train::{Progress, pixels};

use super::FisherSpec;
use crate::Merging;

/// Passes of a training image, in forward passes: the backward pass costs two.
const PASSES: u64 = 3;

/// F = 1/n · Σ_x Σ_y p(y|x) · (∂ log p(y|x) / ∂θ)² for each source, over images x and all classes y, without sampling.
/// With several labels per image, classes are independent, so that F = 1/n · Σ_x Σ_c p_c · (1 − p_c) · (∂ z_c / ∂θ)² for
/// probabilities p and logits z. Networks are in evaluation mode.
///
/// # Errors
/// A tensor operation failed, or the user interrupted.
pub(crate) fn information(spec: &FisherSpec, merging: &Merging<'_>) -> Result<Vec<StateDict>, StageError> {
    let (context, sources) = (merging.context, &merging.sources);
    let images = merging.drawn(merging.dataset().train.len(), spec.images);
    let of = images.len() * sources.len();
    let mut measured = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        let mut total = StateDict::new();
        for (k, &image) in images.iter().enumerate() {
            add_image(&mut total, source, image, context)?;
            let done = i * images.len() + k + 1;
            (context.report)(Progress::Count { done, of, what: "images".into() })?;
        }
        for tensor in total.values_mut() {
            *tensor = (&*tensor / images.len() as f64)?;
        }
        measured.push(total);
    }
    Ok(measured)
}

/// One image at a time: the square of each image's gradient is needed, not that of the batch's gradient.
fn add_image(
    total: &mut StateDict,
    model: &Checkpoint,
    image: usize,
    context: &Context<'_>,
) -> candle_core::Result<()> {
    let dataset = &context.datasets[0];
    let normalize = &model.info.normalize;
    let x = pixels::images(&dataset.train, dataset.size, &[image], normalize, None, &context.device)?;
    let classes = model.info.classes().len();
    for class in 0..classes {
        for (name, gradient) in gradient(model, &x, class, classes)? {
            let square = gradient.sqr()?;
            let sum = match total.get(&name) {
                Some(sum) => (sum + square)?,
                None => square,
            };
            total.insert(name, sum);
        }
    }
    Ok(())
}

/// √p(y|x) · ∂ log p(y|x) / ∂θ up to its sign, for all trainable tensors, by name; with several labels per image,
/// √(p_c · (1 − p_c)) · ∂ z_c / ∂θ.
fn gradient(model: &Checkpoint, x: &Tensor, class: usize, classes: usize) -> candle_core::Result<StateDict> {
    let backbone = model.info.backbone.build();
    let learned =
        backbone.all_parameters(Some(classes)).into_iter().filter(|parameter| parameter.is_trainable());
    let learned: Vec<String> = learned.map(|parameter| parameter.name).collect();
    let leaves = leaves(&model.tensors, &learned);
    let net = Net::with_values(&model.tensors, leaves.clone(), Mode::Eval);
    let logits = backbone.logits(&net, &Value::constant(x.clone()), classes)?;
    let mut of_logits = probability_rows(model.info.labeling(), &[logits.tensor().clone()])?;
    let p = of_logits[0][class];
    match model.info.labeling() {
        Labeling::SingleLabel => {
            of_logits[0][class] -= 1.0;
            of_logits[0].iter_mut().for_each(|number| *number *= p.sqrt());
        }
        Labeling::MultiLabel => {
            of_logits[0].fill(0.0);
            of_logits[0][class] = (p * (1.0 - p)).sqrt();
        }
    }
    gradients(&logits, Tensor::new(of_logits, x.device())?, &leaves)
}

/// A forward and a backward pass for each source, image and class.
pub(super) fn work(
    spec: &FisherSpec,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    networks: &mut Networks,
) -> Work {
    let images = dataset.images(dataset::SplitName::Train).min(spec.images as u64);
    let mut work = Work::default();
    for source in sources {
        let classes = source.classes().len();
        let network = networks.get(&source.backbone, classes, dataset.size);
        let passes = product([PASSES, images, classes as u64]);
        work.operations = sum([work.operations, product([network.forward(), passes])]);
        work.memory_bytes = sum([work.memory_bytes, network.bytes()]);
    }
    let network = networks.get(&sources[0].backbone, sources[0].classes().len(), dataset.size);
    Work {
        memory_bytes: sum([work.memory_bytes, network.stepping(1), product([2, network.bytes()])]),
        ..work
    }
}
