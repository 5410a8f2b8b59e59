//! The epochs of trainings: loss and validation score, and the epoch that is kept.

use indexmap::IndexMap;
use maud::html;
use train::{EpochRecord, Select};

use super::axes::{Chart, Scale, range, round_range};
use super::picture::Picture;

/// The epochs of a training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Name of the stage.
    pub stage: String,
    /// Id of the stage.
    pub id: String,
    /// Values of the axes that it depends on.
    pub at: IndexMap<String, String>,
    /// Metric that selects the epoch to keep; empty if the last one is kept.
    pub select: String,
    /// The epochs.
    pub epochs: Vec<EpochRecord>,
}

impl Trained {
    /// The epoch whose weights are kept: the last best one, or the last one.
    pub fn kept(&self) -> Option<&EpochRecord> {
        self.epochs.iter().rev().find(|epoch| epoch.best && !self.select.is_empty()).or(self.epochs.last())
    }

    /// What the selecting metric is called.
    pub fn title(&self) -> &str {
        let metric = Select::by(&self.select).and_then(Select::metric);
        metric.map_or(&self.select, |metric| metric.title)
    }
}

/// Epoch, counted from 1, and value.
type Point = [f64; 2];

/// Training losses, one line per training.
pub fn losses(trainings: &[&Trained]) -> Option<Picture> {
    lines("Training loss", trainings, |_, epoch| Some(epoch.train_loss))
}

/// The scores that select an epoch, one line per training; `None` if none selects one.
pub fn scores(trainings: &[&Trained]) -> Option<Picture> {
    let title = format!("Validation: {}", trainings.iter().find(|one| !one.select.is_empty())?.title());
    lines(&title, trainings, |one, epoch| epoch.val.get(&one.select).copied())
}

fn lines(
    title: &str,
    trainings: &[&Trained],
    value: impl Fn(&Trained, &EpochRecord) -> Option<f64>,
) -> Option<Picture> {
    let point = |one: &Trained, epoch: &EpochRecord| Some([(epoch.epoch + 1) as f64, value(one, epoch)?]);
    let points = |one: &Trained| one.epochs.iter().filter_map(|epoch| point(one, epoch)).collect::<Vec<_>>();
    let lines: Vec<(Vec<Point>, Option<Point>)> = trainings
        .iter()
        .map(|one| (points(one), one.kept().and_then(|epoch| point(one, epoch))))
        .filter(|(points, _)| !points.is_empty())
        .collect();
    if lines.is_empty() {
        return None;
    }
    let all = || lines.iter().flat_map(|(points, _)| points);
    let [epochs, values] = [0, 1].map(|axis| range(all().map(|point| point[axis])));
    // Round ends: many trainings have the same axes, which makes them easy to compare, and a page of them small.
    let ranges = [epochs, round_range(values)];
    let chart = Chart { title, names: ["epoch", ""], ranges, size: (300.0, 150.0), scale: Scale::Linear };
    Some(chart.draw(&html! {
        @for (points, _) in &lines { (chart.line(points, 0)) }
        @for (_, kept) in &lines { @if let Some(kept) = kept { (chart.dots(&[*kept], 1)) } }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_selects_has_the_title_of_its_metric() {
        let title = |select: &str| {
            let (stage, id, at) = Default::default();
            Trained { stage, id, at, select: select.into(), epochs: Vec::new() }.title().to_owned()
        };
        assert_eq!(["macro_f1", "entropy", ""].map(title), ["Macro F1", "Entropy", ""]);
    }
}
