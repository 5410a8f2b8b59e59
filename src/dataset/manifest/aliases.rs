//! One image file under several names: through a symbolic link, or a path such as `x/../a.png`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::super::DataError;
use super::rows::Row;

/// Checks that no two rows name the same file. Only images with the same content can be the same file.
///
/// # Errors
/// The first row whose file an earlier row names, too.
pub(super) fn check(
    path: &Path,
    rows: &[Row],
    hashes: &[blake3::Hash],
    file: impl Fn(&Row) -> PathBuf,
) -> Result<(), DataError> {
    let mut first_of: HashMap<PathBuf, &Row> = HashMap::new();
    for row in repeated(rows, hashes) {
        let canonical = file(row).canonicalize();
        let canonical = canonical
            .map_err(|error| DataError::io(path, &format!("find the image of {}", row.place()), &error))?;
        if let Some(first) = first_of.insert(canonical, row) {
            return Err(row.repeats(path, first));
        }
    }
    Ok(())
}

/// The rows whose content another row has, too, in the order of the CSV.
fn repeated<'r>(rows: &'r [Row], hashes: &[blake3::Hash]) -> Vec<&'r Row> {
    let mut counts: HashMap<&[u8; 32], usize> = HashMap::new();
    hashes.iter().for_each(|hash| *counts.entry(hash.as_bytes()).or_default() += 1);
    let pairs = rows.iter().zip(hashes);
    let mut repeated: Vec<&Row> =
        pairs.filter(|(_, hash)| counts[hash.as_bytes()] > 1).map(|(row, _)| row).collect();
    repeated.sort_by_key(|row| row.number);
    repeated
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::{DatasetKind, ManifestSpec};

    fn message(rows: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, level) in [("a.png", 1), ("b.png", 2)] {
            image::GrayImage::from_pixel(8, 8, image::Luma([level])).save(path(name)).unwrap();
        }
        std::fs::copy(path("a.png"), path("copy.png")).unwrap();
        std::fs::create_dir(path("x")).unwrap();
        symlink("a.png", path("link.png")).unwrap();
        std::fs::write(path("labels.csv"), format!("image,label,split\n{rows}")).unwrap();
        let spec: ManifestSpec =
            serde_json::from_value(serde_json::json!({ "path": path("labels.csv"), "size": 8 })).unwrap();
        spec.summary().map_or_else(|error| error.to_string(), |summary| summary.warnings.concat())
    }

    #[test]
    fn f22_the_same_file_in_two_splits_is_an_error_that_names_both_rows() {
        for name in ["link.png", "x/../a.png"] {
            let message =
                message(&format!("a.png,k,train\ncopy.png,k,train\nb.png,l,train\n{name},k,test\n"));
            let expected = format!(
                "labels.csv, row 5: image '{name}' is in two splits: test here and train in row 2 as 'a.png'"
            );
            assert!(message.contains(&expected), "{message}");
        }
        let message = message("link.png,k,train\na.png,k,train\n");
        assert!(message.contains("row 3: image 'a.png' is a duplicate of row 2 as 'link.png'"), "{message}");
    }

    #[test]
    fn a_copy_is_another_file() {
        let message = message("a.png,k,train\ncopy.png,k,test\n");
        assert!(message.contains("1 pairs of identical images are in different splits"), "{message}");
    }
}
