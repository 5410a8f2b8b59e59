//! Tidy CSV: one row per layer and source, or one row per merge weight.

use super::{COLUMNS, LearnedWeights, statistics};
use table::{csv_text, number_text};

/// `<figure>.csv`: the [`statistics`] of each layer (numbered from 1 at the images) and source (from 0).
pub(super) fn layers(axes: &[String], all: &[&LearnedWeights]) -> String {
    let last = ["kernels", "mean", "std", "min", "max", "share", "fraction"];
    let mut records = vec![header(axes, &["layer", "depth", "source", "source_stage"], &last)];
    for learned in all {
        for (depth, layer) in (1..).zip(&learned.layers) {
            for (source, of) in statistics(&layer.weights).into_iter().enumerate() {
                let numbers =
                    [Some(of.mean), of.std, Some(of.min), Some(of.max), Some(of.share), Some(of.fraction)];
                let mut record = place(axes, learned);
                record.extend([layer.layer.clone(), format!("{depth}"), source.to_string()]);
                record.extend([learned.sources[source].clone(), layer.weights[source].len().to_string()]);
                record.extend(numbers.map(|number| number_text(number.filter(|number| number.is_finite()))));
                records.push(record);
            }
        }
    }
    csv_text(records)
}

/// `<figure>.kernels.csv`: every merge weight, by layer (from 1), kernel and source (from 0).
pub(super) fn kernels(axes: &[String], all: &[&LearnedWeights]) -> String {
    let mut records =
        vec![header(axes, &["layer", "depth", "kernel", "source", "source_stage"], &["weight"])];
    for learned in all {
        for (depth, layer) in (1..).zip(&learned.layers) {
            for kernel in 0..layer.weights.first().map_or(0, Vec::len) {
                for (source, weights) in layer.weights.iter().enumerate() {
                    let mut record = place(axes, learned);
                    record.extend([layer.layer.clone(), format!("{depth}"), kernel.to_string()]);
                    record.extend([source.to_string(), learned.sources[source].clone()]);
                    record.push(format!("{:?}", weights[kernel]));
                    records.push(record);
                }
            }
        }
    }
    csv_text(records)
}

fn header(axes: &[String], middle: &[&str], last: &[&str]) -> Vec<String> {
    let columns = middle.iter().chain(last).map(ToString::to_string);
    std::iter::once("stage".to_owned()).chain(axes.iter().map(column)).chain(columns).collect()
}

/// The column of an axis: its name, or `axis.<name>` if that is a column already. No name of an axis has a dot.
fn column(axis: &String) -> String {
    if COLUMNS.contains(&axis.as_str()) { format!("axis.{axis}") } else { axis.clone() }
}

/// The stage and its axes; empty for axes that it does not depend on.
fn place(axes: &[String], learned: &LearnedWeights) -> Vec<String> {
    let at = axes.iter().map(|axis| learned.at.get(axis).cloned().unwrap_or_default());
    std::iter::once(learned.stage.clone()).chain(at).collect()
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, learned};
    use super::*;

    #[test]
    fn one_row_per_layer_and_source_in_network_order() {
        insta::assert_snapshot!(layers(&axes(), &[&learned("fundus", "0", 0.0)]), @r"
        stage,seed,target,layer,depth,source,source_stage,kernels,mean,std,min,max,share,fraction
        weights,0,fundus,conv1,1,0,probe_a,3,0.16666666666666666,1.0408329997330665,-1.0,1.0,0.5,0.5833333333333334
        weights,0,fundus,conv1,1,1,probe_b,3,1.1666666666666667,1.607275126832159,0.0,3.0,0.5,0.4166666666666667
        weights,0,fundus,layer1.0.conv1,2,0,probe_a,1,1.5,,1.5,1.5,1.0,0.75
        weights,0,fundus,layer1.0.conv1,2,1,probe_b,1,-0.5,,-0.5,-0.5,0.0,0.25
        ");
    }

    #[test]
    fn one_row_per_merge_weight() {
        let mut one = learned("fundus", "0", 0.25);
        one.at.shift_remove("target");
        insta::assert_snapshot!(kernels(&axes(), &[&one]), @r"
        stage,seed,target,layer,depth,kernel,source,source_stage,weight
        weights,0,,conv1,1,0,0,probe_a,1.25
        weights,0,,conv1,1,0,1,probe_b,0.0
        weights,0,,conv1,1,1,0,probe_a,0.75
        weights,0,,conv1,1,1,1,probe_b,0.5
        weights,0,,conv1,1,2,0,probe_a,-0.75
        weights,0,,conv1,1,2,1,probe_b,3.0
        weights,0,,layer1.0.conv1,2,0,0,probe_a,1.75
        weights,0,,layer1.0.conv1,2,0,1,probe_b,-0.5
        ");
    }

    #[test]
    fn f06_the_column_of_an_axis_is_prefixed_only_if_its_name_is_taken() {
        let axes = ["seed", "fraction", "kernel"].map(str::to_owned);
        let mut one = learned("fundus", "0", 0.0);
        one.at.insert("fraction".into(), "0.05".into());
        for text in [layers(&axes, &[&one]), kernels(&axes, &[&one])] {
            let first: Vec<_> = text.lines().take(2).collect();
            assert!(first[0].starts_with("stage,seed,axis.fraction,axis.kernel,layer,depth,"), "{text}");
            assert!(first[1].starts_with("weights,0,0.05,,conv1,1,"), "{text}");
        }
    }

    #[test]
    fn every_column_is_a_reserved_name() {
        for text in [layers(&[], &[]), kernels(&[], &[])] {
            assert!(text.trim().split(',').all(|column| COLUMNS.contains(&column)), "{text}");
        }
    }
}
