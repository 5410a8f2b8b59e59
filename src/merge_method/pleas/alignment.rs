//! The permutations of all sources to the first.

use model::StageError;

use super::{Matching, PleasSpec};
use crate::git_rebasin::assignment::assign;
use crate::git_rebasin::{GitRebasinSpec, Permutations};
use crate::{Merging, features};

/// The permutation of each source to the first.
///
/// # Errors
/// Units cannot be matched, measuring failed, or the user interrupted.
pub(crate) fn permutations(spec: &PleasSpec, merging: &Merging<'_>) -> Result<Vec<Permutations>, StageError> {
    match spec.matching {
        Matching::Weights => Ok(GitRebasinSpec::default().aligned(merging)?.into_permutations()),
        Matching::Activations => by_activations(merging, spec.images),
    }
}

/// For each set of units, the permutation that minimizes Σ ‖x − P·y‖² over the positions of the images, with x the
/// activations of the first source and y those of another: the one that maximizes Σ ⟨x, P·y⟩.
fn by_activations(merging: &Merging<'_>, images: usize) -> Result<Vec<Permutations>, StageError> {
    let symmetries = merging.sources[0].info.backbone.build().symmetries();
    let sets = features::unit_sets(symmetries).map_err(StageError::Failed)?;
    let mut permutations = vec![Permutations::default(); merging.sources.len()];
    features::measure(merging, &sets, images, |set, moments| {
        for (source, permutation) in permutations.iter_mut().enumerate().skip(1) {
            let order = assign(&moments.inner_products(source), set.size);
            set.places.iter().for_each(|place| permutation.reorder(place, &order));
        }
        Ok(())
    })?;
    Ok(permutations)
}
