//! The output file of an archive.

use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// A temporary file next to the archive, renamed to it at the end.
///
/// A zip writer that is dropped after a failure tries to finish the archive, and prints to stderr if it cannot. So
/// after a write error, this file accepts and discards all further data.
#[derive(Debug)]
pub(super) struct Output {
    file: BufWriter<NamedTempFile>,
    failed: bool,
}

impl Output {
    pub(super) fn beside(archive: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(kind::file::beside(archive)?), failed: false })
    }

    /// Flush the file and rename it to the archive. Returns its length.
    pub(super) fn publish(self, archive: &Path) -> io::Result<u64> {
        if self.failed {
            return Err(io::Error::other("a part of it was not written"));
        }
        let file = kind::file::publish(self.file.into_inner()?, archive, true)?;
        Ok(file.metadata()?.len())
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.failed |= result.as_ref().is_err_and(|error| error.kind() != ErrorKind::Interrupted);
        result
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Ok(bytes.len());
        }
        let written = self.file.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        let flushed = self.file.flush();
        self.noted(flushed)
    }
}

impl Seek for Output {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if self.failed {
            return self.file.get_mut().seek(to);
        }
        let position = self.file.seek(to);
        self.noted(position)
    }
}
