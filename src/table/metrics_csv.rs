//! `metrics.csv`: tidy results, one row per score.
//!
//! Columns: `experiment, stage, model, dataset, split, seed`, one for each other sweep axis, then `metric, value, n`.
//! Scripts rely on them. Rows are sorted (numbers numerically), so that they do not depend on the order in which stages
//! finish.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use csv::StringRecord;
use indexmap::IndexMap;

use super::{Score, TableError, csv_text, number_text};
use experiment::cell::Fields;

const BEFORE_AXES: [&str; 6] = ["experiment", "stage", "model", "dataset", "split", "seed"];
const AFTER_AXES: [&str; 3] = ["metric", "value", "n"];

/// The file's text. `axes` are the sweep axes except `seed`, in column order.
///
/// # Errors
/// An axis has the name of another column.
pub fn write(axes: &[String], scores: &[Score]) -> Result<String, TableError> {
    if let Some(axis) = axes.iter().find(|axis| is_fixed(axis)) {
        return Err(TableError::AxisName { axis: axis.clone() });
    }
    let mut sorted: Vec<&Score> = scores.iter().collect();
    sorted.sort_by(|a, b| order(axes, a, b));
    let before = BEFORE_AXES.iter().map(ToString::to_string);
    let after = AFTER_AXES.iter().map(ToString::to_string);
    let header = before.chain(axes.iter().cloned()).chain(after).collect();
    Ok(csv_text(std::iter::once(header).chain(sorted.into_iter().map(|score| record(axes, score)))))
}

fn is_fixed(column: &str) -> bool {
    BEFORE_AXES.contains(&column) || AFTER_AXES.contains(&column)
}

fn record(axes: &[String], score: &Score) -> Vec<String> {
    let fixed = [&score.experiment, &score.stage, &score.model, &score.dataset, &score.split, &score.seed];
    let mut record: Vec<String> = fixed.into_iter().cloned().collect();
    record.extend(axes.iter().map(|axis| score.field(axis).to_owned()));
    record.extend([score.metric.clone(), number_text(score.defined()), score.n.to_string()]);
    record
}

fn order(axes: &[String], a: &Score, b: &Score) -> Ordering {
    let by = |field: &str| compare(a.field(field), b.field(field));
    let axes = axes.iter().map(|axis| by(axis)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
    (a.experiment.cmp(&b.experiment))
        .then_with(|| by("stage"))
        .then_with(|| by("dataset"))
        .then(axes)
        .then_with(|| by("seed"))
        .then_with(|| by("split"))
        .then_with(|| by("model"))
        .then_with(|| by("metric"))
}

/// Numbers are ordered numerically and before other values, which are ordered as text.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// The scores of a file, in file order.
///
/// # Errors
/// If it cannot be read, or is not as [`write`](fn@write) writes it.
pub fn read(path: &Path) -> Result<Vec<Score>, TableError> {
    let text = std::fs::read(path).map_err(TableError::io(path))?;
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let malformed = |line, message| TableError::Malformed { path: path.to_owned(), line, message };
    let header = reader.headers().map_err(|error| malformed(1, error.to_string()))?;
    let axes = axes_of(header).map_err(|message| malformed(1, message))?;
    let mut scores = Vec::new();
    for record in reader.records() {
        let record = record
            .map_err(|error| malformed(error.position().map_or(1, csv::Position::line), error.to_string()))?;
        let line = record.position().map_or(1, csv::Position::line);
        scores.push(score_of(&axes, &record).map_err(|message| malformed(line, message))?);
    }
    Ok(scores)
}

fn axes_of(header: &StringRecord) -> Result<Vec<String>, String> {
    let columns: Vec<&str> = header.iter().collect();
    let axes = columns.strip_prefix(&BEFORE_AXES).and_then(|rest| rest.strip_suffix(&AFTER_AXES));
    let axes = axes.map(|axes| axes.iter().map(ToString::to_string).collect());
    axes.ok_or_else(|| {
        let (before, after) = (BEFORE_AXES.join(","), AFTER_AXES.join(","));
        format!("the header is not `{before},<sweep axes>,{after}`; rewrite the file with `medmerge table`")
    })
}

fn score_of(axes: &[String], record: &StringRecord) -> Result<Score, String> {
    let text = |i: usize| record[i].to_owned();
    let after = BEFORE_AXES.len() + axes.len();
    Ok(Score {
        experiment: text(0),
        stage: text(1),
        model: text(2),
        dataset: text(3),
        split: text(4),
        seed: text(5),
        axes: axes
            .iter()
            .enumerate()
            .map(|(i, axis)| (axis.clone(), text(BEFORE_AXES.len() + i)))
            .collect::<IndexMap<_, _>>(),
        metric: text(after),
        value: value_of(&record[after + 1])?,
        n: record[after + 2]
            .parse()
            .map_err(|_| format!("n is `{}`, not a number of images", &record[after + 2]))?,
        predicted: None,
        caveats: Arc::default(),
        steps: None,
        model_fingerprint: None,
    })
}

fn value_of(text: &str) -> Result<Option<f64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Some(value)),
        _ => Err(format!("the value is `{text}`, not a number; leave it empty if the score is undefined")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, score, scores};
    use super::*;
    use proptest::prelude::*;

    fn read_text(text: &str) -> Result<Vec<Score>, TableError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn rows_are_sorted_regardless_of_the_order_of_the_scores() {
        let mut scores = scores();
        let text = write(&axes(), &scores).unwrap();
        scores.reverse();
        assert_eq!(write(&axes(), &scores).unwrap(), text);
        let first: Vec<&str> = text.lines().take(3).collect();
        assert_eq!(
            first,
            [
                "experiment,stage,model,dataset,split,seed,target,metric,value,n",
                "quickstart,scores,Average + FT,fundus,test,0,fundus,log_loss,0.85,60",
                "quickstart,scores,Average + FT,fundus,test,0,fundus,macro_f1,0.65,60",
            ]
        );
    }

    #[test]
    fn seeds_sort_as_numbers() {
        let scores = ["10", "9", ""].map(|seed| score("a", "t", seed, None));
        let text = write(&axes(), &scores).unwrap();
        let seeds: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').nth(5).unwrap()).collect();
        assert_eq!(seeds, ["9", "10", ""]);
    }

    #[test]
    fn an_undefined_score_is_an_empty_value() {
        let text =
            write(&axes(), &[score("a", "t", "0", None), score("b", "t", "0", Some(f64::NAN))]).unwrap();
        assert!(
            text.ends_with("a,t,test,0,t,macro_f1,,60\nquickstart,scores,b,t,test,0,t,macro_f1,,60\n"),
            "{text}"
        );
    }

    #[test]
    fn an_axis_cannot_have_the_name_of_a_column() {
        let error = write(&["model".into()], &[]).unwrap_err().to_string();
        assert!(error.contains("`model`") && error.contains("rename"), "{error}");
    }

    #[test]
    fn errors_in_a_file_have_a_line_number() {
        let good = write(&axes(), &[score("a", "t", "0", Some(0.5))]).unwrap();
        for (from, to, line, what) in [
            ("model,dataset", "dataset,model", "line 1", "the header is not"),
            (",0.5,", ",high,", "line 2", "`high`, not a number"),
            (",0.5,", ",NaN,", "line 2", "leave it empty"),
            (",60", ",-1", "line 2", "`-1`, not a number of images"),
            (",60", ",60,1", "line 2", "11 fields"),
        ] {
            let error = read_text(&good.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(what), "{error}");
        }
        assert!(
            read(Path::new("/nowhere/metrics.csv")).unwrap_err().to_string().contains("/nowhere/metrics.csv")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            labels in prop::collection::vec(("[ -~é模]{0,8}", "[a-z\"\n,]{0,4}", any::<u16>(), any::<f64>()), 0..20)
        ) {
            let of = |(model, target, seed, value): &(String, String, u16, f64)| {
                score(model, target, &seed.to_string(), Some(*value).filter(|value| value.is_finite()))
            };
            let mut scores: Vec<Score> = labels.iter().map(of).collect();
            let read = read_text(&write(&axes(), &scores).unwrap()).unwrap();
            scores.sort_by(|a, b| order(&axes(), a, b));
            prop_assert_eq!(read, scores);
        }
    }
}
