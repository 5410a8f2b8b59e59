//! A safetensors file whose tensors are read on demand.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use candle_core::{Device, Result as TensorResult, Tensor, bail};
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::FileError;
use merge_method::NamedTensors;

/// Bytes per read when a whole file is read.
const PIECE: usize = 1 << 20;

/// A safetensors file whose tensors are read on demand, into separate buffers: a memory-mapped file would count as
/// memory of the process in full.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    file: File,
    length: u64,
    /// Offset of the first tensor's bytes.
    data: u64,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: HashMap<String, String>,
}

impl Input {
    /// Open a file and read its header.
    ///
    /// # Errors
    /// The file cannot be read, is not a safetensors file, or has an element type that cannot be merged.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let unreadable = |problem: &dyn std::fmt::Display| FileError::Read {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        // SAFETY: only the header is read, immediately. Truncating a file in use ends this process with a bus error,
        // but does not corrupt memory.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| unreadable(&error))?;
        let (header, described) = SafeTensors::read_metadata(&map)
            .map_err(|error| unreadable(&format!("{}; {CONVERT}", not_safetensors(&map, &error))))?;
        let tensors: BTreeMap<String, TensorInfo> =
            described.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        if let Some((name, info)) = tensors.iter().find(|(_, info)| !is_mergeable(info.dtype)) {
            let dtype = info.dtype;
            return Err(unreadable(&format!(
                "tensor `{name}` has elements of type {dtype}, but merges need F32 (integers are copied): convert the \
                 model with `model.float()` before saving it"
            )));
        }
        let metadata = described.metadata().clone().unwrap_or_default();
        let (length, data) = (map.len() as u64, (HEADER_LENGTH + header) as u64);
        Ok(Self { path: path.to_owned(), file, length, data, tensors, metadata })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type, shape and position of each tensor.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// What the file says of itself; our own files under the key `medmerge`.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether a tensor has floating-point elements.
    pub(super) fn is_float(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|info| info.dtype == Dtype::F32)
    }

    /// Size of a tensor in bytes; 0 if there is none.
    pub(super) fn size(&self, name: &str) -> usize {
        self.tensors.get(name).map_or(0, |info| info.data_offsets.1 - info.data_offsets.0)
    }

    /// BLAKE3 hash of the file in hexadecimal, as printed by `b3sum`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest(&self) -> Result<String, FileError> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < self.length {
            let length = usize::try_from(self.length - at).map_or(PIECE, |rest| rest.min(PIECE));
            read_at(&self.file, &mut piece[..length], at).map_err(|error| self.unreadable(&error))?;
            hasher.update(&piece[..length]);
            at += length as u64;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The bytes of a tensor.
    ///
    /// # Errors
    /// The file cannot be read, or has no such tensor.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; self.size(name)];
        self.read(name, &mut bytes).map_err(|error| self.unreadable(&error))?;
        Ok(bytes)
    }

    fn read(&self, name: &str, bytes: &mut [u8]) -> io::Result<()> {
        let info =
            self.tensors.get(name).ok_or_else(|| io::Error::other(format!("there is no tensor `{name}`")))?;
        read_at(&self.file, bytes, self.data + info.data_offsets.0 as u64)
    }

    fn unreadable(&self, error: &io::Error) -> FileError {
        FileError::Read { path: self.path.clone(), problem: error.to_string() }
    }
}

/// What is wrong with a file that has no safetensors header; a `.pth` file of PyTorch, which is a zip archive, is named.
pub fn not_safetensors(bytes: &[u8], error: &SafeTensorError) -> String {
    match bytes.starts_with(b"PK") {
        true => "it is a .pth file of PyTorch, not a safetensors file".into(),
        false => format!("it is not a safetensors file: {error}"),
    }
}

/// Bytes of the header's length field, which precedes the header.
const HEADER_LENGTH: usize = 8;

/// What to do with a file in another format.
const CONVERT: &str = "write one with `safetensors.torch.save_file(model.state_dict(), …)`";

/// Whether tensors of this type can be merged: f32 is merged, integers are copied from the first source.
fn is_mergeable(dtype: Dtype) -> bool {
    use Dtype::{BOOL, F32, I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(dtype, F32 | BOOL | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64)
}

impl NamedTensors for Input {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// F32 only: other types are not merged.
    fn tensor(&self, name: &str) -> TensorResult<Option<Tensor>> {
        let Some(info) = self.tensors.get(name) else { return Ok(None) };
        if info.dtype != Dtype::F32 {
            bail!("{}: `{name}` has elements of type {}", self.path.display(), info.dtype);
        }
        let mut numbers = vec![0f32; self.size(name) / size_of::<f32>()];
        if let Err(error) = self.read(name, bytemuck::cast_slice_mut(&mut numbers)) {
            bail!("{}: {error}", self.path.display());
        }
        Tensor::from_vec(numbers, info.shape.as_slice(), &Device::Cpu).map(Some)
    }
}

/// Read at an offset of the file, from any thread.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = ONE_AT_A_TIME.lock();
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}
