//! Whole training steps give the same results with the GPU operators and with the CPU kernels.

use candle_core::{DType, Device, Result, Tensor};
use nn::init::initial_values;
use nn::testing::{as_on_a_gpu, assert_close, launches, random_tensor};
use nn::{Mode, Net, StateDict, Value, gradients, leaves};

use crate::BackboneSpec;

const CLASSES: usize = 5;

/// Logits, running statistics and gradients of a training step.
fn step(spec: &BackboneSpec, tensors: &StateDict, x: &Tensor, mode: Mode) -> Result<StateDict> {
    let backbone = spec.build();
    let names: Vec<String> = backbone
        .all_parameters(Some(CLASSES))
        .into_iter()
        .filter(|parameter| parameter.is_trainable())
        .map(|parameter| parameter.name)
        .collect();
    let leaves = leaves(tensors, &names);
    let net = Net::with_values(tensors, leaves.clone(), mode);
    let logits = backbone.logits(&net, &Value::constant(x.clone()), CLASSES)?;
    let gradient = random_tensor(6, logits.dims()).to_dtype(logits.tensor().dtype())?;
    let mut all = gradients(&logits, gradient, &leaves)?;
    assert_eq!(all.len(), names.len(), "every parameter has a gradient");
    all.insert("logits".into(), logits.tensor().clone());
    for (layer, statistics) in net.into_observed() {
        all.insert(format!("{layer}.mean"), statistics.mean);
        all.insert(format!("{layer}.variance"), statistics.variance);
    }
    Ok(all)
}

#[test]
fn whole_training_steps_are_the_same() -> Result<()> {
    let specs = [
        (r#"{"resnet18": {"width": 8}}"#, 33),
        (r#"{"resnet50": {"width": 8, "stem": "small"}}"#, 9),
        (r#"{"densenet121": {"growth": 4}}"#, 40),
        (r#"{"vit_tiny": {"image_size": 8, "patch_size": 4}}"#, 8),
    ];
    for (spec, size) in specs {
        let spec: BackboneSpec = serde_json::from_str(spec).unwrap();
        let tensors = initial_values(&spec.build().all_parameters(Some(CLASSES)), 0, &Device::Cpu)?;
        let widen = |tensor: &Tensor| match tensor.dtype() {
            DType::F32 => tensor.to_dtype(DType::F64),
            _ => Ok(tensor.clone()),
        };
        let tensors =
            tensors.iter().map(|(name, t)| Ok((name.clone(), widen(t)?))).collect::<Result<StateDict>>()?;
        let x = random_tensor(7, &[3, size, size, 3]);
        for mode in [Mode::Train, Mode::Eval] {
            let expected = step(&spec, &tensors, &x, mode)?;
            let actual = as_on_a_gpu(|| step(&spec, &tensors, &x, mode))?;
            for (name, expected) in &expected {
                assert_close(&format!("{name} of {spec}"), &actual[name], expected);
            }
        }
    }
    Ok(())
}

/// A whole training step: forward, loss, backward, running statistics, optimizer. Kernels, convolutions and products are
/// counted; the last four launches are of the loss, the running statistics, the optimizer and of zeros for gradients.
#[test]
fn a_training_step_takes_few_launches() -> Result<()> {
    for (spec, size, most) in [
        (r#"{"resnet18": {"width": 8, "stem": "small"}}"#, 8, 200),
        (r#"{"resnet50": {"width": 4, "stem": "small"}}"#, 8, 520),
        (r#"{"densenet121": {"growth": 4}}"#, 32, 1300),
        (r#"{"vit_tiny": {"image_size": 8, "patch_size": 4}}"#, 8, 560),
    ] {
        let spec: BackboneSpec = serde_json::from_str(spec).unwrap();
        let tensors = initial_values(&spec.build().all_parameters(Some(CLASSES)), 0, &Device::Cpu)?;
        let x = random_tensor(7, &[2, size, size, 3]).to_dtype(DType::F32)?;
        let before = launches();
        as_on_a_gpu(|| step(&spec, &tensors, &x, Mode::Train))?;
        let count = launches() - before + 4;
        assert!(count <= most, "{spec}: {count} launches, at most {most}");
        println!("{spec}: {count} launches");
    }
    Ok(())
}
