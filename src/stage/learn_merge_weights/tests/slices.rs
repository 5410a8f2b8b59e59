//! A merge weight for each slice of a kernel.

use super::*;

fn of_slices(norms: Norms) -> LearnMergeWeightsSpec {
    LearnMergeWeightsSpec { granularity: Granularity::Slice, norms, ..spec(2, Some(1)) }
}

/// `W[k, c] = Σ_i w_i[k, c] · W_i[k, c]` for convolutions, and `Σ_i w_i[k] · γ_i[k]` for the norms that follow.
#[test]
fn slices_have_merge_weights_of_their_own() -> Result<()> {
    let learned = with_learner(&of_slices(Norms::Merged), |learner| {
        scatter(learner);
        learner.learned()
    })?;
    let sources: Vec<Checkpoint> = (0..2).map(model).collect();
    let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
    let folded = learned::merge(&state_dicts, None, &resnet().build().kernel_groups(), &learned)?;
    for (tensor, weights, shape) in [
        ("conv1.weight", "conv1.weight.merge_weights", (2, 8, 3, 1, 1)),
        ("layer2.0.conv1.weight", "layer2.0.conv1.weight.merge_weights", (2, 16, 8, 1, 1)),
        ("bn1.weight", "conv1.merge_weights", (2, 8, 1, 1, 1)),
    ] {
        let of_source = |i: usize| -> Result<Tensor> {
            let w = learned[weights].reshape(shape)?.get(i)?;
            let source = &sources[i].tensors[tensor];
            if source.rank() == 1 { source.mul(&w.flatten_all()?) } else { source.broadcast_mul(&w) }
        };
        let expected = (of_source(0)? + of_source(1)?)?;
        assert!(largest_difference(&folded[tensor], &expected) < 1e-6, "{tensor}");
        assert!(largest_difference(&folded[tensor], &sources[1].tensors[tensor]) > 1e-2, "{tensor}");
    }
    Ok(())
}

/// Without merged norms, kernels have no merge weights of their own.
#[test]
fn every_variable_has_a_gradient() -> Result<()> {
    for (norms, per_kernel) in [(Norms::Merged, true), (Norms::Trained, false)] {
        with_learner(&of_slices(norms), |learner| -> Result<()> {
            let positions: Vec<usize> = (0..12).collect();
            let batch = Batch::prepare(learner.task, Some(&learner.normalize), 0, 0, &positions)?
                .on(learner.task.device)?;
            let Forward { logits, leaves } = learner.train_logits(&batch)?;
            let gradients = gradients(&logits, logits.tensor().ones_like()?, &leaves)?;
            let names: Vec<String> = learner.variables().into_iter().map(|(name, _)| name).collect();
            assert!(names.iter().all(|name| gradients.contains_key(name)), "{names:?}");
            assert!(names.contains(&"conv1.weight.merge_weights".into()), "{names:?}");
            assert_eq!(names.contains(&"conv1.merge_weights".into()), per_kernel, "{names:?}");
            Ok(())
        })?;
    }
    Ok(())
}
