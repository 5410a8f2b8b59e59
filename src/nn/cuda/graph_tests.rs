//! Recorded work gives what it gives at once, and what breaks a rule of captures is refused.

use candle_core::{DType, Device, Result, Tensor};

use super::graph::Graph;
use super::{cast, copy};
use crate::gelu::gelu;
use crate::linear::linear;
use crate::testing::{as_on_a_gpu, random_tensor};
use crate::{Tape, Value};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap()
}

/// The capture of work on `older` tensors must fail; the message.
fn refused(older: &[&Tensor], work: impl FnOnce() -> Result<()>) -> String {
    let older = older.iter().map(|tensor| (*tensor).clone()).collect();
    match as_on_a_gpu(|| Graph::capture(&Device::Cpu, older, work)) {
        Ok(_) => panic!("it was captured"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn replays_compute_on_what_the_older_tensors_hold_then() -> Result<()> {
    let [weight, bias] = [random_tensor(2, &[3, 4]), random_tensor(3, &[3])];
    let step = |x: &Tensor, to: &Tensor| -> Result<()> {
        let tape = Tape::default();
        let leaf = tape.leaf(weight.clone());
        let x = Value::constant(cast(x, DType::F64)?);
        let y = gelu(&linear(&x, &leaf, &Value::constant(bias.clone()), None)?)?;
        let mut gradients = y.backward(y.tensor().clone())?;
        copy(&gradients.take(&leaf).expect("a gradient"), to)
    };
    let bits = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f64>();
    let (x, gradient) = (random_tensor(1, &[5, 4]), zeros(&[3, 4]));
    as_on_a_gpu(|| step(&x, &gradient))?;
    let older = vec![x.clone(), weight.clone(), bias.clone(), gradient.clone()];
    let before = bits(&gradient)?;
    let graph = as_on_a_gpu(|| Graph::capture(&Device::Cpu, older, || step(&x, &gradient)))?;
    assert_eq!(bits(&gradient)?, before, "nothing is computed within a capture");
    for seed in 11..14 {
        x.slice_set(&random_tensor(seed, &[5, 4]), 0, 0)?;
        graph.replay()?;
        let expected = zeros(&[3, 4]);
        as_on_a_gpu(|| step(&x, &expected))?;
        assert_eq!(bits(&gradient)?, bits(&expected)?);
    }
    Ok(())
}

#[test]
fn nothing_is_uploaded_within_a_capture() {
    let y = zeros(&[2]);
    let message = refused(&[&y], || copy(&Tensor::new(&[1.0, 2.0], &Device::Cpu)?, &y));
    assert!(message.starts_with("failed to capture a step: "), "{message}");
    assert!(message.contains("was uploaded, or computed on the host"), "{message}");
}

#[test]
fn every_older_tensor_is_named() {
    let (x, y) = (zeros(&[2]), zeros(&[2]));
    let message = refused(&[&y], || copy(&x, &y));
    assert!(message.contains("neither named as older nor made by a launch"), "{message}");
}

#[test]
fn nothing_is_read_back_within_a_capture() {
    let x = zeros(&[2]);
    let older = refused(&[&x], || x.to_vec1::<f64>().map(drop));
    let born = refused(&[&x], || {
        gelu(&Value::constant(x.clone()))?.tensor().sum_all()?.to_scalar::<f64>().map(drop)
    });
    for message in [older, born] {
        assert!(message.contains("something was read back, or computed other than by launches"), "{message}");
    }
    assert_eq!(x.to_vec1::<f64>().unwrap(), [0.0; 2], "afterwards it is as before");
}

#[test]
fn nothing_born_in_a_capture_is_used_outside_of_it() -> Result<()> {
    let (x, y) = (random_tensor(1, &[2]), zeros(&[2]));
    let mut leaked = None;
    let graph = as_on_a_gpu(|| {
        Graph::capture(&Device::Cpu, vec![x.clone()], || {
            leaked = Some(gelu(&Value::constant(x.clone()))?.tensor().clone());
            Ok(())
        })
    })?;
    graph.replay()?;
    let leaked = leaked.expect("the work was done");
    assert!(leaked.to_vec1::<f64>().is_err());
    let message = as_on_a_gpu(|| copy(&leaked, &y)).unwrap_err().to_string();
    assert!(message.contains("a tensor that was born in a capture outlives it"), "{message}");
    Ok(())
}

#[test]
fn room_for_sums_is_made_before_a_capture() {
    // more channels than any other test has
    let (x, sums) = (zeros(&[3, 1 << 17]), zeros(&[1 << 17]));
    let sum = || copy(&super::linear::column_sums(&x)?, &sums);
    let message = refused(&[&x, &sums], sum);
    assert!(message.contains("take a step of this shape first"), "{message}");
    as_on_a_gpu(sum).unwrap();
    as_on_a_gpu(|| Graph::capture(&Device::Cpu, vec![x.clone(), sums.clone()], sum)).unwrap();
}

#[test]
fn a_failed_capture_leaves_no_trace() -> Result<()> {
    let (x, y) = (random_tensor(1, &[2]), zeros(&[2]));
    let message = refused(&[&x], || candle_core::bail!("out of luck"));
    assert!(message.starts_with("failed to capture a step: out of luck"), "{message}");
    as_on_a_gpu(|| copy(&x, &y))?;
    assert_eq!(y.to_vec1::<f64>()?, x.to_vec1::<f64>()?);
    let nested = refused(&[], || Graph::capture(&Device::Cpu, Vec::new(), || Ok(())).map(drop));
    assert!(nested.contains("a capture within a capture"), "{nested}");
    Ok(())
}
