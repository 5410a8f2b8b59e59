//! A curve of each class against the rest, for each seed.

use chart::{Evaluated, Picture, file};
use metric::ranking::Ranking;
use table::number_text;

use super::grid::{grid, tidy};
use super::{Files, Shown};

const CAPTION: [&str; 1] = ["Each class against the rest; one line per seed."];

/// A kind of curve.
pub(super) struct ClassCurves {
    pub(super) picture: fn(&Evaluated) -> Picture,
    pub(super) curve: fn(&Ranking) -> Option<Vec<[f64; 2]>>,
    /// Names of its coordinates.
    pub(super) columns: [&'static str; 2],
}

impl ClassCurves {
    pub(super) fn files(&self, name: &str, shown: &Shown<'_>, all: &[&Evaluated]) -> Files {
        if all.is_empty() {
            return Files::new();
        }
        let columns = ["seed", "class", self.columns[0], self.columns[1]];
        let csv = tidy(shown, all, &columns, |one| self.rows(one));
        vec![("svg", self.svg(&shown.title(name), all)), ("csv", csv)]
    }

    /// With one key of colors if all panels have the same classes, or else one below each.
    fn svg(&self, title: &str, all: &[&Evaluated]) -> String {
        let picture = |one: &Evaluated| (self.picture)(one);
        match all.split_first() {
            Some((first, others)) if others.iter().all(|one| one.classes == first.classes) => {
                file(title, &grid(all, |one| Some(picture(one))), &first.classes, &CAPTION)
            }
            _ => file(title, &grid(all, |one| Some(picture(one).with_key(&one.classes))), &[], &CAPTION),
        }
    }

    /// The points of each curve; none for a class without a curve.
    fn rows(&self, one: &Evaluated) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (seed, predictions) in &one.seeds {
            for (class, ranking) in one.classes.iter().zip(predictions.rankings()) {
                for point in (self.curve)(ranking).into_iter().flatten() {
                    let numbers = point.map(|number| number_text(Some(number)));
                    rows.push([vec![seed.clone(), class.clone()], numbers.to_vec()].concat());
                }
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use metric::Predictions;

    use super::super::roc;
    use super::*;

    fn evaluated(dataset: &str, classes: [&str; 2]) -> Evaluated {
        let rows = [vec![0.9, 0.1], vec![0.4, 0.6], vec![0.7, 0.3], vec![0.2, 0.8]];
        Evaluated {
            stage: "scores".into(),
            model: "A".into(),
            dataset: dataset.into(),
            at: IndexMap::new(),
            classes: classes.map(str::to_owned).to_vec(),
            seeds: vec![("0".into(), Predictions::new(&[0, 0, 1, 1], &rows, 2).unwrap())],
        }
    }

    fn svg(all: &[Evaluated]) -> String {
        let spec = toml::from_str("from = ['scores']").unwrap();
        let shown = Shown { experiment: "tiny", evaluated: all, ..Shown::default() };
        roc::files("f", &spec, &shown).remove(0).1
    }

    #[test]
    fn there_is_one_key_of_colors_or_one_for_each_panel() {
        let names = |svg: &str, name: &str| svg.matches(&format!(">{name}</text>")).count();
        let same = svg(&[evaluated("d", ["sick", "well"]), evaluated("e", ["sick", "well"])]);
        assert_eq!([names(&same, "sick"), names(&same, "well")], [1, 1]);
        let other = svg(&[evaluated("d", ["sick", "well"]), evaluated("e", ["well", "sick"])]);
        assert_eq!([names(&other, "sick"), names(&other, "well")], [2, 2]);
    }

    #[test]
    fn the_csv_has_each_point() {
        let shown = [evaluated("d", ["sick", "well"])];
        let shown = Shown { experiment: "tiny", evaluated: &shown, ..Shown::default() };
        let csv = roc::files("f", &toml::from_str("from = ['scores']").unwrap(), &shown).remove(1).1;
        insta::assert_snapshot!(csv, @r"
        stage,model,dataset,seed,class,false_positive_rate,true_positive_rate
        scores,A,d,0,sick,0.0,0.0
        scores,A,d,0,sick,0.0,0.5
        scores,A,d,0,sick,0.5,0.5
        scores,A,d,0,sick,0.5,1.0
        scores,A,d,0,sick,1.0,1.0
        scores,A,d,0,well,0.0,0.0
        scores,A,d,0,well,0.0,0.5
        scores,A,d,0,well,0.5,0.5
        scores,A,d,0,well,0.5,1.0
        scores,A,d,0,well,1.0,1.0
        ");
    }
}
