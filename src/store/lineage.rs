//! Where something comes from, down to its sources, as far as it is known.
//!
//! A checkpoint tells what it and its ancestors depend on; manifests of the store tell, beside that, the names that
//! people gave.

use indexmap::IndexMap;

use super::{Manifest, Provenance, Store, StoreError};
use identity::{Field, Fingerprint, Role};

/// Stages and data sets by their fingerprints.
#[derive(Clone, Debug, PartialEq)]
pub struct Lineage {
    /// The stage that was asked for.
    pub root: Fingerprint,
    /// What is known of it and of what it comes from.
    pub known: IndexMap<Fingerprint, Origin>,
}

/// What is known of a stage or a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// What its result depends on, or what is known of that.
    pub fields: Vec<Field>,
    /// What people call it: ids of stages, the name of a data set.
    pub names: Vec<String>,
}

impl Origin {
    /// The kind of the stage or data set; empty if it is not known.
    pub fn kind(&self) -> &str {
        self.fields.iter().find(|field| field.path == "kind").map_or("", |field| &field.value)
    }

    /// (role, fingerprint) of each input, sources in the order of their numbers.
    pub fn inputs(&self) -> Vec<(Role, Fingerprint)> {
        self.references("input.")
    }

    /// (role, fingerprint) of each data set.
    pub fn datasets(&self) -> Vec<(Role, Fingerprint)> {
        self.references("dataset.")
    }

    /// The options that were set, and what else decides the result: all but the kind, inputs and data sets.
    pub fn options(&self) -> impl Iterator<Item = &Field> {
        let other =
            |path: &str| path != "kind" && !path.starts_with("input.") && !path.starts_with("dataset.");
        self.fields.iter().filter(move |field| other(&field.path))
    }

    /// Whether these are all fields that a fingerprint is the hash of.
    pub fn is_whole(&self, fingerprint: &Fingerprint) -> bool {
        Fingerprint::of(&self.fields) == *fingerprint
    }

    fn references(&self, prefix: &str) -> Vec<(Role, Fingerprint)> {
        let reference =
            |field: &Field| Some((Role::from(field.path.strip_prefix(prefix)?), field.value.parse().ok()?));
        let mut references: Vec<_> = self.fields.iter().filter_map(reference).collect();
        references.sort();
        references
    }
}

impl Lineage {
    /// Of an entry, from a store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of_entry(store: &Store, root: &Fingerprint) -> Result<Self, StoreError> {
        let mut lineage = Self { root: *root, known: IndexMap::new() };
        lineage.ask(store)?;
        Ok(lineage)
    }

    /// Of a checkpoint: what it says of itself, and what a store knows beside that.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of_checkpoint(provenance: &Provenance, store: Option<&Store>) -> Result<Self, StoreError> {
        let mut lineage = Self { root: provenance.fingerprint, known: IndexMap::new() };
        lineage.learn(provenance);
        store.map_or(Ok(()), |store| lineage.ask(store))?;
        Ok(lineage)
    }

    /// Looks up the root, and whatever it leads to.
    fn ask(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut seen = std::collections::HashSet::new();
        let mut waiting = vec![self.root];
        while let Some(fingerprint) = waiting.pop() {
            if !seen.insert(fingerprint) {
                continue;
            }
            if let Some(manifest) = store.manifest(&fingerprint)? {
                self.read(&manifest);
                store.provenance(&manifest)?.iter().for_each(|provenance| self.learn(provenance));
            }
            if let Some(origin) = self.known.get(&fingerprint) {
                waiting.extend(origin.inputs().into_iter().map(|(_, input)| input));
            }
        }
        Ok(())
    }

    /// Takes over what a manifest says.
    fn read(&mut self, manifest: &Manifest) {
        let header = &manifest.header;
        let origin = Origin { fields: header.fields.clone(), names: header.stage_ids.clone() };
        self.known.insert(header.fingerprint, origin);
        for ((_, dataset), name) in header.datasets.iter().zip(&header.dataset_names) {
            let origin = self.known.entry(*dataset).or_default();
            if !origin.names.contains(name) {
                origin.names.push(name.clone());
            }
        }
    }

    /// Takes over what a checkpoint says of what is not known yet.
    fn learn(&mut self, provenance: &Provenance) {
        for (fingerprint, fields) in &provenance.ancestry {
            let origin = self.known.entry(*fingerprint).or_default();
            if origin.fields.is_empty() {
                origin.fields.clone_from(fields);
            }
        }
        let field = |path: String, value: &str| Field { path, value: value.to_owned() };
        let kind = field("kind".to_owned(), &provenance.kind);
        let inputs =
            provenance.inputs.iter().map(|(role, input)| field(format!("input.{role}"), &input.to_string()));
        let origin = self.known.entry(provenance.fingerprint).or_default();
        if origin.fields.is_empty() {
            origin.fields = std::iter::once(kind).chain(inputs).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(path: &str, value: &str) -> Field {
        Field { path: path.into(), value: value.into() }
    }

    #[test]
    fn fields_tell_kind_inputs_data_and_options() {
        let fields = [
            ("dataset.dataset", "dd".repeat(32)),
            ("input.source.0", "a0".repeat(32)),
            ("input.source.10", "aa".repeat(32)),
            ("input.source.9", "a9".repeat(32)),
            ("kind", "merge".to_owned()),
            ("method.average.weights", "null".to_owned()),
        ];
        let fields: Vec<Field> = fields.map(|(path, value)| field(path, &value)).into();
        let origin = Origin { fields: fields.clone(), names: Vec::new() };
        let roles = |references: Vec<(Role, Fingerprint)>| -> Vec<String> {
            references.into_iter().map(|(role, of)| format!("{role}={}", &of.short()[..2])).collect()
        };
        assert_eq!(origin.kind(), "merge");
        assert_eq!(roles(origin.inputs()), ["source.0=a0", "source.9=a9", "source.10=aa"]);
        assert_eq!(roles(origin.datasets()), ["dataset=dd"]);
        assert_eq!(
            origin.options().map(|field| field.path.as_str()).collect::<Vec<_>>(),
            ["method.average.weights"]
        );
        let whole = Fingerprint::of(&fields);
        assert!(origin.is_whole(&whole));
        let less = Origin { fields: fields[1..].to_vec(), names: Vec::new() };
        assert!(!less.is_whole(&whole));
    }
}
