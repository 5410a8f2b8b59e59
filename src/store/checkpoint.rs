//! Checkpoints: tensors and their provenance in a safetensors file that PyTorch reads.
//!
//! The bytes depend only on the tensors and the metadata. Because safetensors metadata is an unordered map, everything
//! is stored under the single key [`KEY`].

use std::collections::HashMap;
use std::path::Path;

use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use super::entry::map;
use super::{ContentError, StoreError};
use nn::StateDict;

/// The metadata key of medmerge's provenance.
pub const KEY: &str = "medmerge";

/// Write tensors (f32 and i64), integers first and sorted by name, as the format requires.
///
/// # Errors
/// A tensor has another type, or the file cannot be written.
pub fn save(tensors: &StateDict, metadata: HashMap<String, String>, path: &Path) -> Result<(), StoreError> {
    let bytes = encode(tensors, metadata).map_err(|problem| StoreError::content("write", path, problem))?;
    std::fs::write(path, bytes).map_err(|source| StoreError::io("write", path, source))
}

/// Read a file's tensors to the CPU, and its metadata.
///
/// # Errors
/// The file cannot be read or is not a safetensors file.
pub fn load(path: &Path) -> Result<(StateDict, HashMap<String, String>), StoreError> {
    decode(&map(path)?).map_err(|problem| StoreError::content("read", path, problem))
}

/// Encode a safetensors file.
pub(super) fn encode(
    tensors: &StateDict,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, ContentError> {
    let tensors = tensors.iter().map(|(name, tensor)| Ok((name, on_cpu(name, tensor)?)));
    let tensors = tensors.collect::<Result<Vec<_>, ContentError>>()?;
    Ok(safetensors::serialize(tensors, Some(metadata))?)
}

/// Decode the tensors and the metadata of a safetensors file.
pub(super) fn decode(bytes: &[u8]) -> Result<(StateDict, HashMap<String, String>), ContentError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let file = SafeTensors::deserialize(bytes)?;
    let tensors = file.iter().map(|(name, view)| Ok((name.to_string(), view.load(&Device::Cpu)?)));
    let tensors = tensors.collect::<Result<_, ContentError>>()?;
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

fn on_cpu(name: &str, tensor: &Tensor) -> Result<Tensor, ContentError> {
    match tensor.dtype() {
        DType::F32 | DType::I64 => Ok(tensor.to_device(&Device::Cpu)?),
        other => Err(ContentError::Dtype { name: name.to_string(), dtype: other.as_str() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> StateDict {
        let device = &Device::Cpu;
        let matrix = Tensor::new(&[[1f32, 2., 3.], [4., 5., 6.]], device).unwrap();
        StateDict::from([
            ("fc.weight".into(), matrix.t().unwrap()),
            ("bn1.num_batches_tracked".into(), Tensor::new(7i64, device).unwrap()),
            ("fc.bias".into(), Tensor::new(&[f32::MIN_POSITIVE, -0.0], device).unwrap()),
        ])
    }

    fn metadata() -> HashMap<String, String> {
        HashMap::from([(KEY.to_string(), "{\"kind\":\"pretrain\"}".to_string())])
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        save(&tensors(), metadata(), &path).unwrap();
        let (loaded, read) = load(&path).unwrap();
        assert_eq!(read, metadata());
        assert_eq!(loaded.keys().collect::<Vec<_>>(), tensors().keys().collect::<Vec<_>>());
        let weight = loaded["fc.weight"].to_vec2::<f32>().unwrap();
        assert_eq!(weight, [[1., 4.], [2., 5.], [3., 6.]]);
        assert_eq!(loaded["bn1.num_batches_tracked"].to_scalar::<i64>().unwrap(), 7);
        let bias = loaded["fc.bias"].to_vec1::<f32>().unwrap();
        assert_eq!(
            bias.into_iter().map(f32::to_bits).collect::<Vec<_>>(),
            [f32::MIN_POSITIVE.to_bits(), (-0f32).to_bits()]
        );
    }

    #[test]
    fn the_same_tensors_give_the_same_bytes() {
        let first = encode(&tensors(), metadata()).unwrap();
        assert_eq!(first, encode(&tensors(), metadata()).unwrap());
        assert_eq!(
            blake3::hash(&first).to_hex().as_str(),
            "75af9cd97e58df5b1b3f5f38ce55119b29065aa888faca74dab6b65c077c972e",
            "the bytes of a checkpoint changed: stored models would differ"
        );
    }

    #[test]
    fn a_type_that_torchvision_does_not_use_is_an_error_that_names_it() {
        let tensor = Tensor::new(&[1f64], &Device::Cpu).unwrap();
        let refused = encode(&StateDict::from([("fc.bias".into(), tensor)]), metadata()).unwrap_err();
        let text = "tensor `fc.bias` has type f64; only f32 and i64 can be stored";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn the_error_for_a_file_that_is_not_a_checkpoint_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.safetensors");
        std::fs::write(&path, b"not tensors at all").unwrap();
        let error = load(&path).unwrap_err().to_string();
        assert!(error.starts_with("failed to read ") && error.contains("notes.safetensors"), "{error}");
    }
}
