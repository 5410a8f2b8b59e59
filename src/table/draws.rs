//! The levels of the scores of a cell on each axis of `over`, and draws of them with replacement.

use std::collections::HashMap;

use super::spec::TableSpec;
use super::{Score, metrics_csv};
use experiment::cell::Levels;
use rng::name_index;
use statistics::bootstrap;

/// Scores with their levels, in the order of the levels.
pub(super) type Values<'a> = Vec<(Levels<'a>, &'a Score)>;

/// Where each score stands on each axis.
pub(super) struct Grid<'a> {
    /// The distinct values of each axis, numbers in numerical order.
    axes: Vec<Vec<&'a str>>,
    /// Of each score, the position of its value on each axis.
    pub(super) places: Vec<Vec<usize>>,
}

impl<'a> Grid<'a> {
    pub(super) fn new(values: &[(Levels<'a>, &Score)]) -> Self {
        let count = values.first().map_or(0, |(levels, _)| levels.len());
        let axis = |axis: usize| {
            let mut distinct: Vec<&str> = values.iter().map(|(levels, _)| levels[axis]).collect();
            distinct.sort_by(|a, b| metrics_csv::compare(a, b));
            distinct.dedup();
            distinct
        };
        let axes: Vec<Vec<&str>> = (0..count).map(axis).collect();
        let position = |(axis, level): (&Vec<&str>, &&str)| {
            axis.iter().position(|value| value == level).expect("an axis has the values of all scores")
        };
        let place = |(levels, _): &(Levels<'a>, &Score)| axes.iter().zip(levels).map(position).collect();
        let places = values.iter().map(place).collect();
        Self { axes, places }
    }

    /// The scores drawn in each resample, by position: values of each axis are drawn with replacement, independently of
    /// the other axes, and a score comes as often as its values together (Owen 2007, the pigeonhole bootstrap). Rows
    /// with the same values of an axis share its draws.
    pub(super) fn draws(&self, spec: &TableSpec) -> Vec<Vec<usize>> {
        let name =
            |(axis, values): (&String, &Vec<&str>)| name_index(&format!("{axis}\n{}", values.join("\n")));
        let names: Vec<u64> = spec.over.axes().iter().zip(&self.axes).map(name).collect();
        let scores: HashMap<&[usize], usize> =
            self.places.iter().enumerate().map(|(score, place)| (place.as_slice(), score)).collect();
        (0..spec.resamples).map(|resample| self.drawn(resample, &names, &scores)).collect()
    }

    fn drawn(&self, resample: usize, names: &[u64], scores: &HashMap<&[usize], usize>) -> Vec<usize> {
        let mut places: Vec<Vec<usize>> = vec![Vec::new()];
        for (values, &name) in self.axes.iter().zip(names) {
            let drawn = bootstrap::draw(values.len(), resample, name);
            let with = |place: &Vec<usize>, &value: &usize| [place.as_slice(), &[value]].concat();
            places =
                places.iter().flat_map(|place| drawn.iter().map(move |value| with(place, value))).collect();
        }
        places.iter().filter_map(|place| scores.get(place.as_slice()).copied()).collect()
    }
}

/// The defined scores of a cell, sorted by their levels (numbers numerically).
pub(super) fn sorted<'a>(scores: impl Iterator<Item = (Levels<'a>, &'a Score)>) -> Values<'a> {
    let mut values: Values<'a> = scores.filter(|(_, score)| score.defined().is_some()).collect();
    values.sort_by(|(a, _), (b, _)| {
        let orders = a.iter().zip(b).map(|(a, b)| metrics_csv::compare(a, b));
        orders.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    values
}

#[cfg(test)]
mod tests {
    use super::super::example::{score, spec};
    use super::*;

    #[test]
    fn a_score_is_drawn_as_often_as_its_values_together() {
        let scores: Vec<Score> = (0..5).map(|_| score("a", "t", "0", Some(0.5))).collect();
        let levels = [["0", "a"], ["0", "b"], ["1", "a"], ["1", "b"], ["10", "a"]];
        let values: Values<'_> = levels.iter().map(|levels| levels.to_vec()).zip(&scores).collect();
        let grid = Grid::new(&values);
        assert_eq!(grid.axes, [vec!["0", "1", "10"], vec!["a", "b"]]);
        let spec = TableSpec { over: ["seed", "source"].into(), resamples: 100, ..spec() };
        for drawn in grid.draws(&spec) {
            let count = |score: usize| drawn.iter().filter(|&&other| other == score).count();
            assert_eq!(count(0) * count(3), count(1) * count(2));
            // without the missing score, as many as there would be: 3 × 2
            assert!(drawn.len() <= 6);
        }
    }

    #[test]
    fn values_of_one_axis_are_drawn_as_positions() {
        let scores: Vec<Score> = (0..3).map(|_| score("a", "t", "0", Some(0.5))).collect();
        let values = sorted(["10", "2", "1"].map(|level| vec![level]).into_iter().zip(&scores));
        let draws = Grid::new(&values).draws(&TableSpec { resamples: 100, ..spec() });
        let name = name_index("seed\n1\n2\n10");
        assert!(draws.iter().enumerate().all(|(r, drawn)| *drawn == bootstrap::draw(3, r, name)));
    }
}
