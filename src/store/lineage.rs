//! Lineage: the origins of an entry or a checkpoint, down to its sources, as far as they are known.
//!
//! A checkpoint contains what it and its ancestors depend on; manifests in the store add the names given by users.

mod tree;

use indexmap::IndexMap;

use super::{Manifest, Provenance, Store, StoreError};
use identity::{Field, Fingerprint, Role};

/// Stages and data sets by their fingerprints.
#[derive(Clone, Debug, PartialEq)]
pub struct Lineage {
    /// The requested stage.
    pub root: Fingerprint,
    /// The known origins of it and its ancestors.
    pub known: IndexMap<Fingerprint, Origin>,
}

/// What is known about a stage or a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The fields that its result depends on, as far as known.
    pub fields: Vec<Field>,
    /// Names given by users: ids of stages, or the name of a data set.
    pub names: Vec<String>,
}

impl Origin {
    /// The kind of the stage or data set; empty if unknown.
    pub fn kind(&self) -> &str {
        self.fields.iter().find(|field| field.path == "kind").map_or("", |field| &field.value)
    }

    /// (role, fingerprint) of each input, sources in numerical order.
    pub fn inputs(&self) -> Vec<(Role, Fingerprint)> {
        self.references("input.")
    }

    /// (role, fingerprint) of each data set.
    pub fn datasets(&self) -> Vec<(Role, Fingerprint)> {
        self.references("dataset.")
    }

    /// The options, and everything else that affects the result except the kind, inputs and data sets.
    pub fn options(&self) -> impl Iterator<Item = &Field> {
        let other =
            |path: &str| path != "kind" && !path.starts_with("input.") && !path.starts_with("dataset.");
        self.fields.iter().filter(move |field| other(&field.path))
    }

    /// Whether the fields are complete, i.e. their hash is `fingerprint`.
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
    /// The lineage of an entry in a store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of_entry(store: &Store, root: &Fingerprint) -> Result<Self, StoreError> {
        let mut lineage = Self { root: *root, known: IndexMap::new() };
        lineage.ask(store)?;
        Ok(lineage)
    }

    /// The lineage of a checkpoint: from its provenance, and from a store if given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of_checkpoint(provenance: &Provenance, store: Option<&Store>) -> Result<Self, StoreError> {
        let mut lineage = Self { root: provenance.fingerprint, known: IndexMap::new() };
        lineage.learn(provenance);
        store.map_or(Ok(()), |store| lineage.ask(store))?;
        Ok(lineage)
    }

    /// Look up the root and all its ancestors in a store.
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

    /// Add the information in a manifest.
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

    /// Add the missing information from a checkpoint.
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
    fn fields_contain_kind_inputs_data_and_options() {
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
