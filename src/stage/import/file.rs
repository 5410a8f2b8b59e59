//! The tensors in a checkpoint file, which are read on demand.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use candle_core::DType;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::pth;
use super::view::{View, contiguous};

/// Tensors by name, in a file's bytes.
pub(super) type Tensors<'a> = BTreeMap<String, View<'a>>;

/// Why there are no tensors.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// A pickled object of this class, under this key if not at the top level.
    Object { class: String, key: Option<String> },
    /// PyTorch's format before 1.6.
    Old,
    /// Anything else.
    Other(String),
}

impl From<String> for Unreadable {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

/// The bytes of a regular file, which are read where they are looked at: a header is little of a large file. A pipe or a
/// device may have no end.
pub(super) fn map(path: &Path) -> Result<Mmap, String> {
    let failed = |error: std::io::Error| format!("failed to read: {error}");
    if !path.metadata().map_err(failed)?.is_file() {
        return Err("failed to read: it is not a regular file".into());
    }
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the bytes are only read. Truncating a file in use ends this process with a bus error, but does not corrupt
    // memory.
    unsafe { Mmap::map(&file) }.map_err(failed)
}

/// The tensors in a file's bytes, under a key if it is a `.pth` file. The format is detected from the first bytes. Also
/// the usual key under which they were found without being asked for.
pub(super) fn tensors<'a>(
    bytes: &'a [u8],
    key: Option<&str>,
) -> Result<(Tensors<'a>, Option<&'static str>), Unreadable> {
    if bytes.starts_with(b"PK") {
        pth::tensors(bytes, key)
    } else if bytes.get(8) == Some(&b'{') {
        match key {
            Some(_) => Err(Unreadable::Other(
                "it is a safetensors file, which has no dictionaries; remove `key`".into(),
            )),
            None => Ok((of_safetensors(bytes)?, None)),
        }
    } else if bytes.first() == Some(&0x80) {
        Err(Unreadable::Old)
    } else {
        Err(Unreadable::Other("it is neither a safetensors nor a .pth file".into()))
    }
}

fn of_safetensors(bytes: &[u8]) -> Result<Tensors<'_>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = Tensors::new();
    for (name, tensor) in file.iter() {
        let view = View {
            storage: tensor.data(),
            dtype: (dtype(tensor.dtype()), tensor.dtype().to_string()),
            offset: 0,
            shape: tensor.shape().to_vec(),
            strides: contiguous(tensor.shape()).ok_or_else(|| format!("`{name}` has too many elements"))?,
        };
        tensors.insert(name.to_owned(), view);
    }
    Ok(tensors)
}

fn dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::F8_E4M3 => DType::F8E4M3,
        _ => return None,
    })
}
