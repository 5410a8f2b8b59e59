//! Milliseconds of each operator at the shapes of a ResNet-18 step (batch 64), one line a case:
//!
//!     cargo bench --bench operators
//!
//! Forward, gradient of the input, gradient of the parameters; for convolutions also the arithmetic of the
//! definition in GF/s, which a fast algorithm may exceed. Threads: RAYON_NUM_THREADS.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use medmerge::nn::batch_norm::{Moments, Then, batch_norm_train};
use medmerge::nn::conv2d::{ConvOptions, conv2d};
use medmerge::nn::pool::max_pool2d;
use medmerge::nn::{Tape, Value};
use medmerge::rng::{Purpose, rng};
use rand::Rng;

const BATCH: usize = 64;

fn main() -> Result<()> {
    // SAFETY: nothing has started a thread yet.
    unsafe { nn::set_up_process() };
    rayon::scope(|_| {
        for (side, ci, co, kernel, stride) in [
            (28, 3, 64, 3, 1),
            (28, 64, 64, 3, 1),
            (28, 64, 128, 3, 2),
            (28, 64, 128, 1, 2),
            (14, 128, 128, 3, 1),
            (14, 128, 256, 3, 2),
            (7, 256, 256, 3, 1),
            (7, 256, 512, 3, 2),
            (4, 512, 512, 3, 1),
            (16, 64, 256, 1, 1),
            (8, 512, 128, 1, 1),
            (2, 512, 2048, 1, 1),
            (2, 2048, 512, 1, 1),
            (64, 3, 64, 7, 2),
        ] {
            convolution(side, ci, co, kernel, stride)?;
        }
        for (side, channels) in [(28, 64), (14, 128), (7, 256), (4, 512)] {
            norm(side, channels)?;
        }
        let x = numbers(&[BATCH, 32, 32, 64])?;
        let (forward, gradient) = both(&x, |x| max_pool2d(x, 3, 2, 1))?;
        println!("max pool 3/2/1, 32 px, 64: forward {forward:.2} ms, gradient {gradient:.2} ms");
        Ok(())
    })
}

fn convolution(side: usize, ci: usize, co: usize, kernel: usize, stride: usize) -> Result<()> {
    let options = ConvOptions { stride, padding: kernel / 2, ..ConvOptions::default() };
    let (x, weight) = (numbers(&[BATCH, side, side, ci])?, numbers(&[co, ci, kernel, kernel])?);
    let (forward, input) = both(&x, |x| conv2d(x, &weight, options))?;
    let (_, kernels) = both(&weight, |weight| conv2d(&x, weight, options))?;
    let out = (side + 2 * options.padding - kernel) / stride + 1;
    let work = 2e-6 * (BATCH * out * out * ci * co * kernel * kernel) as f64;
    let rate = |ms: f64| format!("{ms:.2} ms ({:.0} GF/s)", work / ms);
    println!(
        "conv {kernel}x{kernel}/{stride}, {side} px, {ci} to {co}: forward {}, input {}, kernels {}",
        rate(forward),
        rate(input),
        rate(kernels)
    );
    Ok(())
}

fn norm(side: usize, channels: usize) -> Result<()> {
    let x = numbers(&[BATCH, side, side, channels])?;
    let (weight, bias) = (numbers(&[channels])?, numbers(&[channels])?);
    let (forward, gradient) =
        both(&x, |x| batch_norm_train(x, &Moments::compute(x)?, &weight, &bias, Then::Relu))?;
    println!(
        "batch norm with relu, {side} px, {channels}: forward {forward:.2} ms, gradient {gradient:.2} ms"
    );
    Ok(())
}

/// Milliseconds of an operator and of its gradient with respect to `x` alone.
fn both(x: &Value, operator: impl Fn(&Value) -> Result<Value>) -> Result<(f64, f64)> {
    let forward = median(|| operator(x))?;
    let gy = operator(x)?.tensor().ones_like()?;
    let forward_and_back =
        median(|| operator(&Tape::default().leaf(x.tensor().clone()))?.backward(gy.clone()))?;
    Ok((forward, forward_and_back - forward))
}

fn median<T>(mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut milliseconds = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        call()?;
        milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    Ok(milliseconds[milliseconds.len() / 2])
}

fn numbers(shape: &[usize]) -> Result<Value> {
    let mut random = rng(0, Purpose::Init, 0, 0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    Ok(Value::constant(Tensor::from_vec(values, shape, &Device::Cpu)?))
}
