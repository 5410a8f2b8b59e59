//! Merging kernels is the same as weighting the feature maps that they compute.

use super::*;

/// A network that computes every source's feature map of every layer and weights them per channel: conv and norm of
/// each layer by Σ_i w_i[k] · (feature map k of source i's kernels).
fn weighted_feature_maps(
    folded: &StateDict,
    learned: &StateDict,
    sources: &[Checkpoint],
    x: &Tensor,
) -> Result<Tensor> {
    let layer = |conv: &str,
                 norm: &str,
                 x: &Tensor,
                 kernel: usize,
                 stride: usize,
                 then: Then<'_>|
     -> Result<Tensor> {
        let w = &learned[&format!("{conv}.merge_weights")];
        let weighted = |what: &str, i: usize| -> Result<Tensor> {
            sources[i].tensors[&format!("{norm}.{what}")].mul(&w.get(i)?)
        };
        let options = ConvOptions { stride, padding: kernel / 2, ..ConvOptions::default() };
        let convolved = |source: &Checkpoint| -> Result<Tensor> {
            let kernels = Value::constant(source.tensors[&format!("{conv}.weight")].clone());
            Ok(conv2d(&Value::constant(x.clone()), &kernels, options)?.tensor().clone())
        };
        let mut map = convolved(&sources[0])?.broadcast_mul(&w.get(0)?)?;
        let (mut scale, mut shift) = (weighted("weight", 0)?, weighted("bias", 0)?);
        for (i, source) in sources.iter().enumerate().skip(1) {
            map = (map + convolved(source)?.broadcast_mul(&w.get(i)?)?)?;
            scale = (scale + weighted("weight", i)?)?;
            shift = (shift + weighted("bias", i)?)?;
        }
        let running = (&folded[&format!("{norm}.running_mean")], &folded[&format!("{norm}.running_var")]);
        let [map, scale, shift] = [map, scale, shift].map(Value::constant);
        Ok(batch_norm_eval(&map, &scale, &shift, running, then)?.tensor().clone())
    };
    let mut x = layer("conv1", "bn1", x, 3, 1, Then::Relu)?;
    for stage in 1..=4 {
        for block in 0..2 {
            let name = format!("layer{stage}.{block}");
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let shortcut = if stride == 2 {
                let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
                layer(&conv, &norm, &x, 1, 2, Then::Nothing)?
            } else {
                x.clone()
            };
            let y = layer(&format!("{name}.conv1"), &format!("{name}.bn1"), &x, 3, stride, Then::Relu)?;
            x = layer(
                &format!("{name}.conv2"),
                &format!("{name}.bn2"),
                &y,
                3,
                1,
                Then::AddRelu(&Value::constant(shortcut)),
            )?;
        }
    }
    let features = x.mean((1, 2))?;
    features.matmul(&folded["fc.weight"].t()?)?.broadcast_add(&folded["fc.bias"])
}

#[test]
fn the_folded_network_equals_weighted_feature_maps() -> Result<()> {
    for n in [2, 3] {
        let sources: Vec<Checkpoint> = (0..n as u64).map(model).collect();
        let positions: Vec<usize> = (0..12).collect();
        let (learned, x) = with_learner(&spec(n, Some(0)), |learner| {
            scatter(learner);
            (learner.learned().unwrap(), val_images(learner.task, &learner.normalize, &positions).unwrap())
        });
        let backbone = sources[0].info.backbone.build();
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        let folded = learned::merge(&state_dicts, None, &backbone.kernel_groups(), &learned)?;
        let net = Net::new(&folded, Mode::Eval);
        let logits = backbone.logits(&net, &Value::constant(x.clone()), CLASSES)?;
        let expected = weighted_feature_maps(&folded, &learned, &sources, &x)?;
        let largest = expected.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        let difference = largest_difference(logits.tensor(), &expected);
        assert!(difference <= 1e-4 * largest.max(1.0), "{difference} of {largest}");
    }
    Ok(())
}
