//! A safetensors file whose tensors are read when they are asked for.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use candle_core::{Device, Result as TensorResult, Tensor, bail};
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};

use super::FileError;
use merge_method::NamedTensors;

/// Bytes that are read at once where a file is read from end to end.
const PIECE: usize = 1 << 20;

/// A safetensors file. Its tensors stay on disk until they are asked for, and are read into memory of their own: a
/// mapped file would count as the program's memory, whole.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    file: File,
    length: u64,
    /// Where the first tensor's bytes begin.
    data: u64,
    tensors: BTreeMap<String, TensorInfo>,
    metadata: HashMap<String, String>,
}

impl Input {
    /// Opens a file and reads what it holds, but no tensor.
    ///
    /// # Errors
    /// It cannot be read, is no safetensors file, or has numbers of a type that cannot be merged.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let unreadable = |problem: &dyn std::fmt::Display| FileError::Read {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        // SAFETY: only the header is read, and before anything else happens; as everywhere, whoever cuts a file
        // that is in use ends this process with a bus error, and no memory is corrupted.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| unreadable(&error))?;
        let (header, described) = SafeTensors::read_metadata(&map)
            .map_err(|error| unreadable(&format!("it is no safetensors file: {error}; {CONVERT}")))?;
        let tensors: BTreeMap<String, TensorInfo> =
            described.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        if let Some((name, info)) = tensors.iter().find(|(_, info)| !is_mergeable(info.dtype)) {
            let dtype = info.dtype;
            return Err(unreadable(&format!(
                "the tensor `{name}` holds {dtype} numbers; merges take F32, and integers as they are: convert the \
                 model with `model.float()` before it is saved"
            )));
        }
        let metadata = described.metadata().clone().unwrap_or_default();
        let (length, data) = (map.len() as u64, (HEADER_LENGTH + header) as u64);
        Ok(Self { path: path.to_owned(), file, length, data, tensors, metadata })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type, shape and place of each tensor.
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

    /// Whether a tensor holds floating-point numbers.
    pub(super) fn is_float(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|info| info.dtype == Dtype::F32)
    }

    /// Bytes of a tensor; 0 if there is none.
    pub(super) fn size(&self, name: &str) -> usize {
        self.tensors.get(name).map_or(0, |info| info.data_offsets.1 - info.data_offsets.0)
    }

    /// BLAKE3 of the file, in hexadecimal: what `b3sum` prints.
    ///
    /// # Errors
    /// It cannot be read.
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
    /// It cannot be read, or there is none.
    pub(super) fn bytes(&self, name: &str) -> Result<Vec<u8>, FileError> {
        let mut bytes = vec![0; self.size(name)];
        self.read(name, &mut bytes).map_err(|error| self.unreadable(&error))?;
        Ok(bytes)
    }

    fn read(&self, name: &str, bytes: &mut [u8]) -> io::Result<()> {
        let info =
            self.tensors.get(name).ok_or_else(|| io::Error::other(format!("it has no tensor `{name}`")))?;
        read_at(&self.file, bytes, self.data + info.data_offsets.0 as u64)
    }

    fn unreadable(&self, error: &io::Error) -> FileError {
        FileError::Read { path: self.path.clone(), problem: error.to_string() }
    }
}

/// Bytes of the header's length, before the header.
const HEADER_LENGTH: usize = 8;

/// What to do with a file of another kind.
const CONVERT: &str = "write one with `safetensors.torch.save_file(model.state_dict(), …)`";

/// Whether a merge can take tensors of this type: f32 is merged, integers are the first source's.
fn is_mergeable(dtype: Dtype) -> bool {
    use Dtype::{BOOL, F32, I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(dtype, F32 | BOOL | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64)
}

impl NamedTensors for Input {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// Of f32 alone: nothing else is merged.
    fn tensor(&self, name: &str) -> TensorResult<Option<Tensor>> {
        let Some(info) = self.tensors.get(name) else { return Ok(None) };
        if info.dtype != Dtype::F32 {
            bail!("{} holds {} numbers in `{name}`", self.path.display(), info.dtype);
        }
        let mut numbers = vec![0f32; self.size(name) / size_of::<f32>()];
        if let Err(error) = self.read(name, bytemuck::cast_slice_mut(&mut numbers)) {
            bail!("{}: {error}", self.path.display());
        }
        Tensor::from_vec(numbers, info.shape.as_slice(), &Device::Cpu).map(Some)
    }
}

/// Reads at a place of the file, from any thread.
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
