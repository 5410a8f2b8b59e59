//! Reference numbers in `tests/reference/`, and comparison with them.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};

/// A file of `tests/reference/`.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

/// All tensors of a reference file.
pub fn tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path(name), &Device::Cpu).expect("a reference file")
}

/// A reference file in JSON.
pub fn json(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(path(name)).expect("a reference file");
    serde_json::from_str(&text).expect("JSON")
}

/// The largest difference is at most `tolerance` times the largest magnitude expected.
pub fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let numbers = |tensor: &Tensor| {
        tensor
            .to_dtype(DType::F64)
            .and_then(|t| t.flatten_all())
            .and_then(|t| t.to_vec1::<f64>())
            .expect("numbers")
    };
    let (actual, expected) = (numbers(actual), numbers(expected));
    let largest = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    let worst = actual.iter().zip(&expected).map(|(a, e)| (a - e).abs()).fold(0f64, f64::max);
    assert!(actual.iter().all(|x| x.is_finite()), "{what} is not finite");
    println!("{what}: off by {worst:e}, largest {largest:e}");
    assert!(worst <= tolerance * largest.max(1e-12), "{what}: off by {worst:e}, largest {largest:e}");
}
