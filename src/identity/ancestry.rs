//! The provenance of a result, down to its sources.

use indexmap::IndexMap;

use crate::{Field, Fingerprint};

/// The fields of a result, of its data sets and of all its ancestors, by fingerprint. A fingerprint is the hash of its
/// fields, so an ancestry can be verified with [`Fingerprint::of`].
pub type Ancestry = IndexMap<Fingerprint, Vec<Field>>;
