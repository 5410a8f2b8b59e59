//! Where two models come from, their weights and scores.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde::Serialize;

use super::change::{Change, changes};
use super::{Error, Global};
use crate::cli::entry::named;
use crate::deploy::export::scores::{Scored, scores};
use crate::identity::{Fingerprint, Role};
use crate::nn::StateDict;
use crate::store::{Lineage, Origin, Store, checkpoint, provenance};

/// In what two entries or checkpoints differ.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// What the command line called them.
    pub(super) names: [String; 2],
    /// Whether they have the same fingerprint; `None` if that of one is unknown.
    pub(super) is_same: Option<bool>,
    /// Options and data sets along the paths to the sources, as in `from.source.0: train.epochs`.
    pub(super) changes: Vec<Change>,
    /// If both are models.
    pub(super) weights: Option<Weights>,
    pub(super) scores: Vec<Pair>,
}

/// How tensors differ.
#[derive(Debug, Default, Serialize)]
pub(super) struct Weights {
    /// Number of tensors that are the same.
    pub(super) same: usize,
    /// Tensors of one shape that differ: name and ‖a − b‖ / ‖a‖, the largest first.
    pub(super) changed: Vec<(String, f64)>,
    /// Tensors with two shapes.
    pub(super) shapes: Vec<String>,
    /// Tensors that only one of both has.
    pub(super) only: [Vec<String>; 2],
}

/// The two values of a score of a model on the same data set and split.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    pub(super) dataset: String,
    pub(super) split: String,
    pub(super) metric: &'static str,
    pub(super) a: Option<f64>,
    pub(super) b: Option<f64>,
}

/// One of both.
struct Side {
    /// `None` for a file that no stage made.
    lineage: Option<Lineage>,
    /// The file of a model.
    file: Option<PathBuf>,
}

/// # Errors
/// There is no such file or entry, or it cannot be read.
pub(super) fn diff(names: [&str; 2], global: &Global) -> Result<Difference, Error> {
    let store = Store::existing(&global.store).ok();
    let sides = [side(names[0], global)?, side(names[1], global)?];
    let lineages = [&sides[0].lineage, &sides[1].lineage];
    let (is_same, changes) = match lineages {
        [Some(a), Some(b)] => (Some(a.root == b.root), Walk::default().compare(a, b)),
        _ => (None, Vec::new()),
    };
    let weights = match [&sides[0].file, &sides[1].file] {
        [Some(a), Some(b)] => Some(weights(a, b)?),
        _ => None,
    };
    let scores = match (lineages, &store) {
        ([Some(a), Some(b)], Some(store)) => pairs(scores(store, &a.root)?, &scores(store, &b.root)?),
        _ => Vec::new(),
    };
    Ok(Difference { names: names.map(str::to_owned), is_same, changes, weights, scores })
}

/// A user who only received files has no store.
fn side(name: &str, global: &Global) -> Result<Side, Error> {
    let path = Path::new(name);
    if path.is_file() {
        let store = Store::existing(&global.store).ok();
        let says = provenance::provenance(path)?;
        let lineage = says.map(|says| Lineage::of_checkpoint(&says, store.as_ref())).transpose()?;
        return Ok(Side { lineage, file: Some(path.to_owned()) });
    }
    let store = global.open_store_to_read()?;
    let fingerprint = named(&store, name)?;
    let file = store.manifest(&fingerprint)?.and_then(|manifest| store.model_file(&manifest));
    Ok(Side { lineage: Some(Lineage::of_entry(&store, &fingerprint)?), file })
}

/// A walk along both lineages at once, by the roles of inputs.
#[derive(Default)]
struct Walk {
    seen: HashSet<[Fingerprint; 2]>,
    changes: Vec<Change>,
}

impl Walk {
    fn compare(mut self, a: &Lineage, b: &Lineage) -> Vec<Change> {
        self.step([a, b], [a.root, b.root], "");
        self.changes
    }

    /// Compare two stages or data sets, and what they take from; each pair once.
    fn step(&mut self, lineages: [&Lineage; 2], at: [Fingerprint; 2], path: &str) {
        if at[0] == at[1] || !self.seen.insert(at) {
            return;
        }
        let origins = [0, 1].map(|i| lineages[i].known.get(&at[i]));
        let [Some(a), Some(b)] = origins else {
            self.note(path, "origin", at.map(|fingerprint| Some(fingerprint.short())));
            return;
        };
        if a.kind() != b.kind() {
            self.note(path, "kind", [a, b].map(|origin| Some(origin.kind().to_owned())));
        }
        for change in changes(a.options(), b.options()) {
            self.note(path, &change.option, [change.a, change.b]);
        }
        for (role, [a, b]) in pair([a, b].map(references)) {
            let below = if path.is_empty() { role.clone() } else { format!("{path}.{role}") };
            match (a, b) {
                (Some(a), Some(b)) => self.step(lineages, [a, b], &below),
                (a, b) => self.note(path, &role, [a, b].map(|one| one.map(|one| one.short()))),
            }
        }
    }

    fn note(&mut self, path: &str, option: &str, [a, b]: [Option<String>; 2]) {
        let option = if path.is_empty() { option.to_owned() } else { format!("{path}: {option}") };
        self.changes.push(Change { option, a, b });
    }
}

/// Inputs and data sets.
fn references(origin: &Origin) -> Vec<(Role, Fingerprint)> {
    origin.inputs().into_iter().chain(origin.datasets()).collect()
}

/// By role; of several with one role, in order.
fn pair([a, b]: [Vec<(Role, Fingerprint)>; 2]) -> Vec<(String, [Option<Fingerprint>; 2])> {
    let roles: BTreeSet<&Role> = a.iter().chain(&b).map(|(role, _)| role).collect();
    let mut pairs = Vec::new();
    for role in roles {
        let of = |side: &[(Role, Fingerprint)]| {
            side.iter()
                .filter(|(other, _)| other == role)
                .map(|(_, fingerprint)| *fingerprint)
                .collect::<Vec<_>>()
        };
        let (a, b) = (of(&a), of(&b));
        let at = |i| [a.get(i).copied(), b.get(i).copied()];
        pairs.extend((0..a.len().max(b.len())).map(|i| (role.to_string(), at(i))));
    }
    pairs
}

fn weights(a: &Path, b: &Path) -> Result<Weights, Error> {
    let (a, b) = (checkpoint::load(a)?.0, checkpoint::load(b)?.0);
    let only = |these: &StateDict, those: &StateDict| {
        these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
    };
    let mut weights = Weights { only: [only(&a, &b), only(&b, &a)], ..Weights::default() };
    for (name, tensor) in &a {
        let Some(other) = b.get(name) else { continue };
        match distance(tensor, other) {
            None => weights.shapes.push(name.clone()),
            Some(0.0) => weights.same += 1,
            Some(distance) => weights.changed.push((name.clone(), distance)),
        }
    }
    weights.changed.sort_by(|(name, a), (other, b)| b.total_cmp(a).then(name.cmp(other)));
    Ok(weights)
}

/// ‖a − b‖ / ‖a‖; `None` if the shapes differ.
fn distance(a: &Tensor, b: &Tensor) -> Option<f64> {
    if a.shape() != b.shape() {
        return None;
    }
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let (a, b) = (values(a).ok()?, values(b).ok()?);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    let length = norm(&mut a.iter().copied());
    Some(if difference == 0.0 { 0.0 } else { difference / length })
}

/// Scores on the data sets that both were evaluated on.
fn pairs(a: Vec<Scored>, b: &[Scored]) -> Vec<Pair> {
    let key = |scored: &Scored| (scored.dataset.clone(), scored.split.clone());
    let others: HashMap<_, &Scored> = b.iter().map(|scored| (key(scored), scored)).collect();
    let both = a.into_iter().filter_map(|scored| Some((*others.get(&key(&scored))?, scored)));
    let of_metric = |metric: &str, scored: &Scored| {
        scored.values.iter().find(|(title, _)| *title == metric).and_then(|(_, value)| *value)
    };
    let pairs = both.flat_map(|(other, scored)| {
        let Scored { dataset, split, values, .. } = scored;
        values.into_iter().map(move |(metric, a)| Pair {
            dataset: dataset.clone(),
            split: split.clone(),
            metric,
            a,
            b: of_metric(metric, other),
        })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_distance_is_relative() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        assert_eq!(distance(&tensor(&[3.0, 4.0]), &tensor(&[3.0, 4.0])), Some(0.0));
        assert_eq!(distance(&tensor(&[3.0, 4.0]), &tensor(&[3.0, 3.0])), Some(0.2));
        assert_eq!(distance(&tensor(&[3.0, 4.0]), &tensor(&[3.0])), None);
        assert_eq!(distance(&tensor(&[0.0]), &tensor(&[1.0])), Some(f64::INFINITY));
    }

    #[test]
    fn inputs_are_paired_by_their_roles() {
        let of = |name: &str| Fingerprint::of_parts([name]);
        let a = vec![(Role::Source(0), of("a")), (Role::Source(1), of("b")), (Role::From, of("c"))];
        let b = vec![(Role::Source(0), of("a")), (Role::From, of("d"))];
        let pairs = pair([a, b]);
        let from = ("from".to_owned(), [Some(of("c")), Some(of("d"))]);
        assert_eq!(pairs[0], from);
        assert_eq!(pairs[2], ("source.1".to_owned(), [Some(of("b")), None]));
    }
}
