//! Everything that is wrong or questionable in a data set of image files.

use rayon::prelude::*;

use super::contents::Contents;
use super::listing::Row;
use super::spec::Shared;
use super::{ImageFiles, Stored, depth, digest, leaks, load, stored, with_image};
use crate::image::Encoded;
use crate::inspect::{CacheFolder, Content, Inspection, NamedImage, Sizes};
use crate::{DataError, SplitName, Summary};

/// # Errors
/// The list of images cannot be used, or the disk is full.
pub(super) fn inspect<T: ImageFiles>(kind: &T, cache: &CacheFolder<'_>) -> Result<Inspection, DataError> {
    let contents = Contents::listed(kind)?;
    let (rows, shared) = (&contents.rows, kind.shared());
    let stored: Result<Vec<Stored>, DataError> = stored(rows, shared.pixels).into_iter().collect();
    let Ok(stored) = stored else { return Ok(damaged(&contents, &shared)) };
    let hashes: Vec<blake3::Hash> = stored.iter().map(|image| image.hash).collect();
    leaks::check_aliases(rows, &hashes)?;
    let digest = digest(T::NAME, &contents, &hashes, &shared);
    let identities = identities(rows, &hashes);
    let mut inspection = begun(&contents, &shared, &identities);
    let deep = rows.iter().zip(&stored).filter(|(_, image)| image.is_deep).map(|(row, _)| row);
    inspection.warnings.extend(depth::warning(&shared, &deep.collect::<Vec<_>>()));
    inspection.sizes = Sizes::of(stored.iter().map(|image| image.extent).collect());
    match load(kind, &contents, Some(&cache(digest.to_hex().as_str()))) {
        Ok(dataset) => inspection.look_at(&dataset, &identities),
        Err(error) => inspection.damaged = or_error(undecodable(rows, &shared), error)?,
    }
    Ok(inspection)
}

/// Of a data set with images that cannot be read.
fn damaged(contents: &Contents, shared: &Shared<'_>) -> Inspection {
    Inspection { damaged: undecodable(&contents.rows, shared), ..begun(contents, shared, &[]) }
}

/// What is known before pixels are.
fn begun(contents: &Contents, shared: &Shared<'_>, identities: &[Content]) -> Inspection {
    let Contents { classes, rows, labels, warnings, .. } = contents;
    let summary = Summary::new(classes.clone(), labels.clone(), blake3::hash(b""));
    let summary = Summary { warnings: warnings.clone(), ..summary };
    Inspection {
        shared_groups: leaks::all_shared_groups(rows),
        allow: shared.allow.to_vec(),
        ..Inspection::new(summary, identities)
    }
}

/// The images of all splits, in the order of the decoded ones.
fn identities(rows: &[Row], hashes: &[blake3::Hash]) -> Vec<Content> {
    let content = |(row, hash): (&Row, &blake3::Hash)| Content {
        image: NamedImage { split: row.split, name: row.name.clone() },
        hash: *hash,
    };
    let of_split = |split| {
        let pairs = rows.iter().zip(hashes);
        pairs.filter(move |(row, _)| row.split == split).map(content)
    };
    SplitName::ALL.into_iter().flat_map(of_split).collect()
}

/// A message for each image that cannot be decoded, in the order in which they are listed.
fn undecodable(rows: &[Row], shared: &Shared<'_>) -> Vec<String> {
    let size = shared.size;
    let mut ordered: Vec<&Row> = rows.iter().collect();
    ordered.sort_by(|a, b| a.order().cmp(&b.order()));
    let draw = |image: Encoded<'_>| image.draw(size, &mut vec![0; size * size * 3]);
    let damage = |row: &&Row| with_image(row, shared.pixels, draw).err().map(|error| error.to_string());
    ordered.par_iter().map(damage).collect::<Vec<_>>().into_iter().flatten().collect()
}

/// The damages that explain an error; the error if there are none.
fn or_error(damages: Vec<String>, error: DataError) -> Result<Vec<String>, DataError> {
    if damages.is_empty() { Err(error) } else { Ok(damages) }
}
