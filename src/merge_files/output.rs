//! A safetensors file written in any order and atomically.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use candle_core::{CpuStorage, Storage, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use tempfile::NamedTempFile;

use super::FileError;

/// A temporary file next to the final path. Dropped unfinished, it is removed.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: NamedTempFile,
    /// Offset of each tensor's bytes.
    places: BTreeMap<String, u64>,
}

impl Output {
    /// Create the file and write its header: shapes and types are known in advance.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(
        path: &Path,
        tensors: impl IntoIterator<Item = (String, TensorInfo)>,
        metadata: HashMap<String, String>,
    ) -> Result<Self, FileError> {
        let unwritable = |problem: String| FileError::Write { path: path.to_owned(), problem };
        let tensors = laid_out(tensors);
        let described = Metadata::new(Some(metadata), tensors.clone());
        let header = described.map_err(|error| unwritable(error.to_string()))?;
        let header = serde_json::to_vec(&header).map_err(|error| unwritable(error.to_string()))?;
        let header = with_length(header);
        let place = |(name, info): (String, TensorInfo)| (name, (header.len() + info.data_offsets.0) as u64);
        let places = tensors.into_iter().map(place).collect();
        let write = || {
            let mut file = kind::file::beside(path)?;
            file.write_all(&header)?;
            Ok(file)
        };
        let file = write().map_err(|error: io::Error| unwritable(error.to_string()))?;
        Ok(Self { path: path.to_owned(), file, places })
    }

    /// Write a tensor's bytes, from any thread.
    ///
    /// # Errors
    /// The bytes cannot be written, or the header has no such tensor.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        let place = self
            .places
            .get(name)
            .ok_or_else(|| io::Error::other(format!("the header has no tensor `{name}`")));
        place
            .and_then(|place| write_at(self.file.as_file(), bytes, *place))
            .map_err(|error| self.unwritable(&error))
    }

    /// Write an f32 tensor on the CPU.
    ///
    /// # Errors
    /// See [`Output::put`]; also if the tensor is not f32 on the CPU.
    pub fn put_tensor(&self, name: &str, tensor: &Tensor) -> Result<(), FileError> {
        let problem = |problem: String| FileError::Tensor { name: name.to_owned(), problem };
        let tensor = tensor.contiguous().map_err(|error| problem(error.to_string()))?;
        let (storage, layout) = tensor.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) => {
                self.put(name, bytemuck::cast_slice(&numbers[start..end]))
            }
            _ => Err(problem("the method did not return an f32 tensor on the CPU".into())),
        }
    }

    /// Flush the file to disk and move it to its final path.
    ///
    /// # Errors
    /// It cannot be written or renamed, or a file exists and `replace` is false.
    pub fn finish(self, replace: bool) -> Result<(), FileError> {
        let Self { path, file, .. } = self;
        let published = kind::file::publish(file, &path, replace);
        published.map(drop).map_err(|error| FileError::Write { path, problem: error.to_string() })
    }

    fn unwritable(&self, error: &io::Error) -> FileError {
        FileError::Write { path: self.path.clone(), problem: error.to_string() }
    }
}

/// The layout of the tensors: wider types first, so that each is aligned, then by name.
fn laid_out(tensors: impl IntoIterator<Item = (String, TensorInfo)>) -> Vec<(String, TensorInfo)> {
    let mut tensors: Vec<_> = tensors.into_iter().collect();
    tensors.sort_by(|(a, x), (b, y)| y.dtype.bitsize().cmp(&x.dtype.bitsize()).then_with(|| a.cmp(b)));
    let mut begin = 0;
    for (_, info) in &mut tensors {
        let end = begin + info.data_offsets.1 - info.data_offsets.0;
        info.data_offsets = (begin, end);
        begin = end;
    }
    tensors
}

/// A header as stored: preceded by its length and padded with spaces, so that the data is aligned.
fn with_length(mut header: Vec<u8>) -> Vec<u8> {
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut whole = (header.len() as u64).to_le_bytes().to_vec();
    whole.append(&mut header);
    whole
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _held = ONE_AT_A_TIME.lock();
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}
