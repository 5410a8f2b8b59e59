//! NumPy's `.npz`: a zip of `.npy` members, stored or deflated, with unsigned bytes or 64-bit integers.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::DataError;

/// Maximum length of a header; NumPy writes about 120 bytes, so a longer one indicates damage.
const LONGEST_HEADER: usize = 1 << 16;

/// An open `.npz` file.
pub(super) struct Npz {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

/// Type and shape of a `.npy` array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Type of the elements.
    pub(super) dtype: Dtype,
    /// Dimensions, slowest first.
    pub(super) shape: Vec<usize>,
}

/// Supported element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    /// `|u1`
    U8,
    /// `<i8`
    I64,
}

impl Npz {
    /// Opens the zip and reads its directory.
    ///
    /// # Errors
    /// The file is missing, truncated or not a zip.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let file = kind::file::open(path).map_err(|error| DataError::io(path, "open", &error))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(path, None, &error))?;
        Ok(Self { path: path.into(), zip })
    }

    /// Type and shape of an array, without reading its elements.
    pub(super) fn header(&mut self, array: &str) -> Result<Header, DataError> {
        self.member(array, |_, header, _| Ok(header))
    }

    /// The stored elements of an array, little endian.
    pub(super) fn read(&mut self, array: &str) -> Result<(Header, Vec<u8>), DataError> {
        self.member(array, |member, header, bytes| {
            let mut data = Vec::new();
            data.try_reserve_exact(bytes).map_err(|_| format!("out of memory: it takes {bytes} bytes"))?;
            member.read_to_end(&mut data).map_err(|error| damage(&error))?;
            match data.len() == bytes {
                true => Ok((header, data)),
                false => Err(damage(&format!("{} bytes of {bytes}", data.len()))),
            }
        })
    }

    /// Hashes the elements of an array without keeping them.
    pub(super) fn hash(&mut self, array: &str, hasher: &mut blake3::Hasher) -> Result<(), DataError> {
        self.member(array, |member, _, _| {
            hasher.update_reader(member).map(|_| ()).map_err(|error| damage(&error))
        })
    }

    /// Reads the header of a member and passes on the rest, with the number of bytes according to the header.
    fn member<T>(
        &mut self,
        array: &str,
        then: impl FnOnce(&mut dyn Read, Header, usize) -> Result<T, String>,
    ) -> Result<T, DataError> {
        let at = |message: String| DataError::at(&self.path, array, message);
        let Some(index) = self.zip.index_for_name(&format!("{array}.npy")) else {
            return Err(at(format!("the array is missing; the file has {}", arrays(&self.zip))));
        };
        let mut member =
            self.zip.by_index(index).map_err(|error| damaged(&self.path, Some(array), &error))?;
        let size = member.size();
        let (header, header_bytes) = read_header(&mut member).map_err(at)?;
        let expected = header
            .bytes()
            .filter(|&bytes| size.checked_sub(header_bytes as u64) == Some(bytes as u64))
            .ok_or_else(|| {
                at(format!(
                    "its shape {:?} does not match its {size} bytes; the file is damaged",
                    header.shape
                ))
            })?;
        then(&mut member, header, expected).map_err(at)
    }
}

fn arrays(zip: &ZipArchive<BufReader<File>>) -> String {
    let names = zip.file_names().filter_map(Result::ok);
    let mut arrays: Vec<_> = names.map(|name| name.trim_end_matches(".npy").to_owned()).collect();
    arrays.sort_unstable();
    arrays.join(", ")
}

fn damage(error: &dyn std::fmt::Display) -> String {
    format!("failed to read the array, the file is damaged or truncated ({error}); download it again")
}

fn damaged(path: &Path, array: Option<&str>, error: &ZipError) -> DataError {
    let message =
        format!("failed to read it as .npz, the file is damaged or truncated ({error}); download it again");
    DataError { path: path.into(), place: array.map(Into::into), message }
}

impl Header {
    fn bytes(&self) -> Option<usize> {
        let element = match self.dtype {
            Dtype::U8 => 1usize,
            Dtype::I64 => 8,
        };
        self.shape.iter().try_fold(element, |bytes, &extent| bytes.checked_mul(extent))
    }
}

/// Reads magic, version and dictionary of a `.npy` file; also returns their length in bytes.
///
/// Source: NumPy's `numpy.lib.format`, versions 1.0 and 2.0.
fn read_header(reader: &mut impl Read) -> Result<(Header, usize), String> {
    let mut take = |count: usize| {
        let mut bytes = vec![0; count];
        reader.read_exact(&mut bytes).map_err(|error| damage(&error))?;
        Ok::<_, String>(bytes)
    };
    let start = take(8)?;
    if !start.starts_with(b"\x93NUMPY") {
        return Err("it is not an .npy array".into());
    }
    let (length_bytes, length) = match start[6] {
        1 => (2, take(2)?.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte))),
        2 => (4, take(4)?.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte))),
        version => return Err(format!("its .npy version is {version}; versions 1 and 2 are supported")),
    };
    if length > LONGEST_HEADER {
        return Err(format!("its header has {length} bytes; the file is damaged"));
    }
    let text = take(length)?;
    let text = std::str::from_utf8(&text).map_err(|_| "its header is not text; the file is damaged")?;
    Ok((parse_header(text)?, 8 + length_bytes + length))
}

/// Parses `{'descr': '|u1', 'fortran_order': False, 'shape': (1080, 28, 28), }`.
fn parse_header(text: &str) -> Result<Header, String> {
    let value = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let malformed = || format!("failed to parse its header: {}", text.trim());
    let descr = value("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
    let dtype = match descr {
        Some("|u1") => Dtype::U8,
        Some("<i8") => Dtype::I64,
        Some(other) => return Err(format!("its type is '{other}'; images are uint8, labels uint8 or int64")),
        None => return Err(malformed()),
    };
    if !value("fortran_order").ok_or_else(malformed)?.starts_with("False") {
        return Err("it is in Fortran order; save it again with numpy.ascontiguousarray".into());
    }
    let shape =
        value("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next()).ok_or_else(malformed)?;
    let extents = shape.split(',').map(str::trim).filter(|extent| !extent.is_empty());
    let shape = extents.map(|extent| extent.parse().map_err(|_| malformed())).collect::<Result<_, _>>()?;
    Ok(Header { dtype, shape })
}

/// Writes `.npy` and `.npz` files for tests.
#[cfg(test)]
pub(super) mod write {
    use std::io::Write;
    use std::path::Path;

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    /// A `.npy` file of version 1.
    pub(crate) fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let extents: Vec<_> = shape.iter().map(|extent| format!("{extent},")).collect();
        let shape = extents.join(" ");
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
        header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
        header.push('\n');
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    /// A zip of such files.
    pub(crate) fn npz(path: &Path, compression: CompressionMethod, arrays: &[(&str, Vec<u8>)]) {
        let mut zip = ZipWriter::new(std::fs::File::create(path).unwrap());
        let options = SimpleFileOptions::default().compression_method(compression);
        for (name, array) in arrays {
            zip.start_file(format!("{name}.npy"), options).unwrap();
            zip.write_all(array).unwrap();
        }
        zip.finish().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use zip::CompressionMethod::{Deflated, Stored};

    use super::*;

    fn header(descr: &str, order: &str, shape: &str) -> Result<Header, String> {
        parse_header(&format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}   \n"))
    }

    #[test]
    fn headers_of_both_types_are_parsed_and_others_are_rejected() {
        assert_eq!(
            header("|u1", "False", "(3, 28, 28)"),
            Ok(Header { dtype: Dtype::U8, shape: vec![3, 28, 28] })
        );
        assert_eq!(header("<i8", "False", "(3,)"), Ok(Header { dtype: Dtype::I64, shape: vec![3] }));
        assert!(header("<f4", "False", "(3,)").unwrap_err().contains("'<f4'"));
        assert!(header("|u1", "True", "(3, 2)").unwrap_err().contains("Fortran"));
        assert!(header("|u1", "False", "(3, x)").unwrap_err().contains("failed to parse"));
        assert!(parse_header("{}").is_err());
    }

    #[test]
    fn version_two_has_a_longer_length_and_version_three_is_rejected() {
        let one = write::npy("|u1", &[2], &[7, 8]);
        let mut two = one.clone();
        two[6] = 2;
        two.splice(10..10, [0, 0]);
        let (header, bytes) = read_header(&mut &two[..]).unwrap();
        assert_eq!((header.shape, bytes), (vec![2], two.len() - 2));
        two[6] = 3;
        assert!(read_header(&mut &two[..]).unwrap_err().contains("version is 3"));
        assert!(read_header(&mut &b"not an array"[..]).unwrap_err().contains("not an .npy"));
        assert!(read_header(&mut &one[..20]).unwrap_err().contains("truncated"));
    }

    #[test]
    fn stored_and_deflated_members_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..240).collect();
        for compression in [Stored, Deflated] {
            let path = folder.path().join("a.npz");
            write::npz(&path, compression, &[("x", write::npy("|u1", &[10, 24], &data))]);
            let mut npz = Npz::open(&path).unwrap();
            let (header, read) = npz.read("x").unwrap();
            assert_eq!((header.shape, read), (vec![10, 24], data.clone()));
            let mut hasher = blake3::Hasher::new();
            npz.hash("x", &mut hasher).unwrap();
            assert_eq!(hasher.finalize(), blake3::hash(&data));
            assert!(npz.header("y").unwrap_err().to_string().contains("the file has x"));
        }
    }

    #[test]
    fn truncated_files_and_inconsistent_headers_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        write::npz(&path, Stored, &[("x", write::npy("|u1", &[1 << 40, 1 << 40], &[1, 2]))]);
        assert!(Npz::open(&path).unwrap().header("x").unwrap_err().to_string().contains("does not match"));
        write::npz(&path, Deflated, &[("x", write::npy("|u1", &[2], &[1, 2]))]);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Npz::open(&path).and_then(|mut npz| npz.read("x")).is_err(), "cut to {length} bytes");
        }
        let mut flipped = whole.clone();
        flipped[60] ^= 0x55;
        std::fs::write(&path, flipped).unwrap();
        assert!(Npz::open(&path).and_then(|mut npz| npz.read("x")).is_err());
    }
}
