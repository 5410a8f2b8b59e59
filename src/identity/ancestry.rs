//! Where a result comes from, down to its sources.

use indexmap::IndexMap;

use crate::{Field, Fingerprint};

/// The fields of a result, its data sets and everything that it was made from, by fingerprint. A fingerprint is the
/// hash of its fields, so an ancestry can be verified: [`Fingerprint::of`].
pub type Ancestry = IndexMap<Fingerprint, Vec<Field>>;
