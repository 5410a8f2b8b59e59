//! The sweep: every section at every combination of the axes that it depends on.
//!
//! Called only if there are no errors: all names are known, there are no cycles, and every version was decoded, so that
//! look-ups cannot fail.

use std::collections::HashMap;

use super::draft::{DatasetDraft, Draft, LabeledSpec, Version};
use super::gather::gathered;
use super::sweep::{Axes, Point, Sweep};
use super::{DatasetInstance, StageInstance};
use stage::StageSpec;

/// Positions of instances by name and coordinates.
type Index = HashMap<(String, Point), usize>;

/// Every data set at every combination of the axes that it uses.
pub(super) fn datasets(sweep: &Sweep<'_>, drafts: &[DatasetDraft<'_>]) -> Vec<DatasetInstance> {
    let instance = |draft: &DatasetDraft<'_>, version: &Version<'_, LabeledSpec>| DatasetInstance {
        name: draft.name.get_ref().to_string(),
        at: sweep.coordinates(&version.at),
        spec: version.spec.0.clone(),
        labels: version.spec.1,
        span: draft.name.span(),
    };
    let of = |draft| move |version| instance(draft, version);
    drafts.iter().flat_map(|draft| draft.versions.iter().map(of(draft))).collect()
}

/// Every stage at every combination of the axes that it depends on, in the given order: inputs first.
pub(super) fn stages(
    sweep: &Sweep<'_>,
    datasets: &[DatasetDraft<'_>],
    stages: &[Draft<'_, StageSpec>],
    order: &[usize],
    axes: &[Axes],
) -> Vec<StageInstance> {
    let data = Targets {
        axes: datasets.iter().map(|draft| (draft.name.get_ref().to_string(), draft.axes.clone())).collect(),
        index: dataset_index(datasets),
    };
    let mut made = Targets { axes: HashMap::new(), index: Index::new() };
    let mut instances = Vec::new();
    for &position in order {
        let (draft, axes) = (&stages[position], &axes[position]);
        let name = draft.name.get_ref().to_string();
        let versions: HashMap<_, _> = draft.versions.iter().map(|version| (&version.at, version)).collect();
        for point in sweep.product(axes) {
            let mut spec = versions[&restricted(&point, &draft.axes)].spec.clone();
            let along = gathered(draft, sweep).map(|axis| along(sweep, axis, &point));
            if let Some((values, _)) = &along {
                spec.gather(values.clone());
            }
            let at = |i: usize| along.as_ref().map_or(&point, |(_, points)| &points[i]);
            let (inputs, read) = (spec.inputs(), spec.datasets());
            made.index.insert((name.clone(), point.clone()), instances.len());
            instances.push(StageInstance {
                name: name.clone(),
                at: sweep.coordinates(&point),
                inputs: inputs.iter().enumerate().map(|(i, input)| made.at(&input.stage, at(i))).collect(),
                datasets: read.iter().map(|input| data.at(&input.dataset, &point)).collect(),
                span: draft.name.span(),
                spec,
            });
        }
        made.axes.insert(name, axes.clone());
    }
    instances
}

/// The values of an axis in ascending order, and a point extended by each.
fn along(sweep: &Sweep<'_>, axis: usize, point: &Point) -> (Vec<String>, Vec<Point>) {
    let (texts, values) = (sweep.texts(axis), sweep.ascending(axis));
    let extended =
        |&value: &usize| point.iter().map(|(&axis, &value)| (axis, value)).chain([(axis, value)]).collect();
    (values.iter().map(|&value| texts[value].clone()).collect(), values.iter().map(extended).collect())
}

/// Instances that stages refer to.
struct Targets {
    axes: HashMap<String, Axes>,
    index: Index,
}

impl Targets {
    /// The instance of a name at the relevant part of the point.
    fn at(&self, name: &str, point: &Point) -> usize {
        let at = restricted(point, &self.axes[name]);
        self.index[&(name.to_owned(), at)]
    }
}

fn dataset_index(drafts: &[DatasetDraft<'_>]) -> Index {
    let key = |draft: &DatasetDraft<'_>, at: &Point| (draft.name.get_ref().to_string(), at.clone());
    let keys =
        drafts.iter().flat_map(|draft| draft.versions.iter().map(move |version| key(draft, &version.at)));
    keys.enumerate().map(|(position, key)| (key, position)).collect()
}

fn restricted(point: &Point, axes: &Axes) -> Point {
    point.iter().filter(|(axis, _)| axes.contains(axis)).map(|(&axis, &value)| (axis, value)).collect()
}
