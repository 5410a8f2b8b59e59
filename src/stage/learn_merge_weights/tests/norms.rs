//! Scales and shifts of norms that are trained beside the merge weights.

use super::*;

/// On a ResNet, whose norms follow convolutions, and a DenseNet, whose norms have their own merge weights.
#[test]
fn trained_norms_start_at_the_anchors_and_end_where_the_training_left_them() -> Result<()> {
    let densenet = BackboneSpec::Densenet121(DensenetSpec { growth: 4 });
    for (backbone, size) in [(resnet(), 12), (densenet, 32)] {
        let sources: Vec<Checkpoint> = (0..2).map(|seed| model_of(backbone.clone(), seed)).collect();
        let spec = LearnMergeWeightsSpec { norms: Norms::Trained, ..spec(2, Some(1)) };
        let positions: Vec<usize> = (0..12).collect();
        let (learned, logits, x) = with_learner_of(&backbone, size, &spec, |learner| -> Result<_> {
            let names = norms(&learner.backbone.parameters());
            let batch = Batch::prepare(learner.task, Some(&learner.normalize), 0, 0, &positions)?
                .on(learner.task.device)?;
            let Forward { logits, leaves } = learner.train_logits(&batch)?;
            let gradients = gradients(&logits, (logits.tensor() * 0.1)?, &leaves)?;
            let mut trained = 0;
            for (name, var) in learner.variables() {
                assert!(gradients.contains_key(&name), "{name} has no gradient");
                if names.contains(&name) {
                    assert_eq!(
                        largest_difference(var.as_tensor(), &sources[1].tensors[&name]),
                        0.0,
                        "{name}"
                    );
                    trained += 1;
                }
                var.set(&(var.as_tensor() + 0.01)?.detach())?;
            }
            assert_eq!(trained, names.len());
            let x = val_images(learner.task, &learner.normalize, &positions)?;
            Ok((learner.learned()?, learner.val_logits(&positions)?, x))
        })?;
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        let network = backbone.build();
        let folded = learned::merge(&state_dicts, None, &network.kernel_groups(), &learned)?;
        for name in norms(&network.parameters()) {
            assert!(largest_difference(&folded[&name], &sources[1].tensors[&name]) > 0.0, "{name}");
        }
        let folded = network.logits(&Net::new(&folded, Mode::Eval), &Value::constant(x), CLASSES)?;
        assert!(largest_difference(&logits, folded.tensor()) <= 1e-5);
    }
    Ok(())
}

#[test]
fn norms_that_are_not_merged_need_an_anchor() {
    for (norms, name) in [(Norms::Anchor, "anchor"), (Norms::Trained, "trained")] {
        let problems = LearnMergeWeightsSpec { norms, ..spec(2, None) }.check_anchor().unwrap_err();
        assert_eq!(problems, [format!("`norms = \"{name}\"` needs an `anchor`")]);
        assert_eq!(LearnMergeWeightsSpec { norms, ..spec(2, Some(0)) }.check_anchor(), Ok(()));
    }
}
