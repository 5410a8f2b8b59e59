//! Compares files: tensors with the same shape and type in all files, and mismatches.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::Inputs;
use merge_method::is_running_statistic;

/// Common tensors and mismatches of files. Names are sorted.
#[derive(Debug)]
pub struct Agreement {
    /// Tensors that can be merged.
    pub common: Vec<String>,
    /// Tensors that cannot be merged.
    pub mismatches: Vec<Mismatch>,
}

/// A tensor that some files lack, or that differs in shape or type.
#[derive(Debug)]
pub struct Mismatch {
    /// Name of the tensor.
    pub name: String,
    /// The tensor in each file.
    found: Vec<(PathBuf, Option<Kind>)>,
}

/// Type and shape, which tensors must share to be merged.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Agreement {
    /// Compare the files. The base needs only the parameters.
    pub fn between(inputs: &Inputs) -> Self {
        let files = || inputs.roles().map(|(_, file)| file);
        let names: BTreeSet<&String> =
            inputs.sources.iter().flat_map(|source| source.tensors().keys()).collect();
        let (mut common, mut mismatches) = (Vec::new(), Vec::new());
        for name in names {
            let asked =
                files().take(if is_parameter(inputs, name) { usize::MAX } else { inputs.sources.len() });
            let found: Vec<_> =
                asked.map(|file| (file.path(), file.tensors().get(name).map(Kind::of))).collect();
            if found.iter().all(|(_, kind)| kind.is_some() && *kind == found[0].1) {
                common.push(name.clone());
            } else {
                let found = found.into_iter().map(|(path, kind)| (path.to_owned(), kind)).collect();
                mismatches.push(Mismatch { name: name.clone(), found });
            }
        }
        Self { common, mismatches }
    }
}

impl Kind {
    fn of(info: &TensorInfo) -> Self {
        Self { dtype: info.dtype, shape: info.shape.clone() }
    }
}

/// Whether the method merges this tensor: neither a batch count nor a running statistic.
fn is_parameter(inputs: &Inputs, name: &str) -> bool {
    inputs.sources.iter().any(|source| source.is_float(name)) && !is_running_statistic(name)
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        for (i, (path, found)) in self.found.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match found {
                Some(Kind { dtype, shape }) => write!(f, "{comma}{dtype} {shape:?} in {}", path.display())?,
                None => write!(f, "{comma}not in {}", path.display())?,
            }
        }
        Ok(())
    }
}
