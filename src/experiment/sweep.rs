//! `[sweep]`: the axes and their products.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use indexmap::IndexMap;
use serde::Deserialize;
use toml::de::{DeValue, ValueDeserializer};

use super::document::wrong_name;
use super::error::{Diagnostic, Report};
use super::tree::{self, Key, Value};
use super::{AxisValue, Coordinates, Span};

/// Names that axes cannot have: columns of `metrics.csv`, and the variable `${data}`.
const RESERVED: [&str; 9] =
    ["experiment", "stage", "model", "dataset", "split", "metric", "value", "n", "data"];

/// The maximum number of combinations of all axes.
const MOST_COMBINATIONS: usize = 100_000;

/// The maximum number of data sets and stages, each counted at every combination of its axes.
pub(super) const MOST_INSTANCES: usize = 100_000;

/// The longest value of an axis as text, in bytes; ids of stages contain it.
const LONGEST_VALUE: usize = 1000;

/// Positions of axes, in the order of `[sweep]`.
pub(super) type Axes = BTreeSet<usize>;

/// Positions of values, by axis.
pub(super) type Point = BTreeMap<usize, usize>;

/// The axes, in file order.
#[derive(Debug, Default)]
pub(super) struct Sweep<'i> {
    axes: Vec<Axis<'i>>,
}

/// One key of `[sweep]`.
#[derive(Debug)]
pub(super) struct Axis<'i> {
    pub(super) name: String,
    /// Location of its name.
    pub(super) span: Span,
    values: Vec<AxisValue>,
    /// The values as written.
    raw: Vec<DeValue<'i>>,
}

impl<'i> Sweep<'i> {
    /// Read the axes. Errors are reported; invalid axes stay known by name.
    pub(super) fn read(section: Option<Value<'i>>, report: &mut Report) -> Self {
        let Some(section) = section else { return Self::default() };
        let DeValue::Table(table) = section.get_ref() else {
            let message = format!("expected a table of axes, found {}", tree::kind_of(&section));
            report.add(Diagnostic::at(section.span(), message));
            return Self::default();
        };
        let axes = table.iter().map(|(key, value)| Axis::read(key, value, report)).collect();
        let mut sweep = Self { axes };
        sweep.limit(section.span(), report);
        sweep
    }

    /// Report an excessive number of combinations.
    fn limit(&mut self, span: Span, report: &mut Report) {
        let sizes = self.axes.iter().map(|axis| axis.values.len().max(1));
        let combinations = sizes.fold(1_usize, usize::saturating_mul);
        if combinations > MOST_COMBINATIONS {
            let message =
                format!("the axes have {combinations} combinations; {MOST_COMBINATIONS} is the limit");
            report.add(Diagnostic::at(span, message));
            for axis in &mut self.axes {
                axis.values.truncate(1);
            }
        }
    }

    /// The number of combinations of the values of some axes.
    pub(super) fn combinations(&self, axes: &Axes) -> usize {
        axes.iter().map(|&axis| self.axes[axis].values.len()).fold(1, usize::saturating_mul)
    }

    /// All axes.
    pub(super) fn axes(&self) -> &[Axis<'i>] {
        &self.axes
    }

    /// The position of the axis with this name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.axes.iter().position(|axis| axis.name == name)
    }

    /// Names of the axes.
    pub(super) fn names(&self) -> Vec<&str> {
        self.axes.iter().map(|axis| axis.name.as_str()).collect()
    }

    /// Every combination of the values of some axes; the last axis changes fastest.
    pub(super) fn product(&self, axes: &Axes) -> Vec<Point> {
        axes.iter().fold(vec![Point::new()], |points, &axis| {
            let extended = |point: Point| {
                let at = move |value| {
                    let mut point = point.clone();
                    point.insert(axis, value);
                    point
                };
                (0..self.axes[axis].values.len()).map(at)
            };
            points.into_iter().flat_map(extended).collect()
        })
    }

    /// The value of an axis at a point, as text and as written.
    pub(super) fn value(&self, axis: usize, point: &Point) -> Option<(&AxisValue, &DeValue<'i>)> {
        let value = *point.get(&axis)?;
        Some((&self.axes[axis].values[value], &self.axes[axis].raw[value]))
    }

    /// The positions of the values of an axis in ascending order: numbers, then others by their text.
    pub(super) fn ascending(&self, axis: usize) -> Vec<usize> {
        let values = &self.axes[axis].values;
        let mut positions: Vec<usize> = (0..values.len()).collect();
        let number = |position: usize| values[position].number().unwrap_or(f64::INFINITY);
        positions.sort_by(|&a, &b| {
            let texts = || values[a].to_string().cmp(&values[b].to_string());
            number(a).total_cmp(&number(b)).then_with(texts)
        });
        positions
    }

    /// The values of an axis, as in result tables.
    pub(super) fn texts(&self, axis: usize) -> Vec<String> {
        self.axes[axis].values.iter().map(ToString::to_string).collect()
    }

    /// Axis names and values at a point.
    pub(super) fn coordinates(&self, point: &Point) -> Coordinates {
        let named = |(&axis, &value): (&usize, &usize)| {
            (self.axes[axis].name.clone(), self.axes[axis].values[value].clone())
        };
        point.iter().map(named).collect()
    }

    /// Names and values of all axes.
    pub(super) fn into_values(self) -> IndexMap<String, Vec<AxisValue>> {
        self.axes.into_iter().map(|axis| (axis.name, axis.values)).collect()
    }
}

impl<'i> Axis<'i> {
    fn read(key: &Key<'i>, value: &Value<'i>, report: &mut Report) -> Self {
        let name = key.get_ref().to_string();
        check_name(&name, key.span(), report);
        let mut axis = Self { name, span: key.span(), values: Vec::new(), raw: Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) if !items.is_empty() => {
                let mut texts = HashSet::new();
                items.iter().for_each(|item| axis.take(item, &mut texts, report));
            }
            DeValue::Array(_) => {
                report.add(Diagnostic::at(value.span(), format!("axis `{}` has no values", axis.name)));
            }
            _ => {
                let message = format!("expected an array of values, found {}", tree::kind_of(value));
                let help = format!("write `{} = [ … ]`", axis.name);
                report.add(Diagnostic::at(value.span(), message).with_help(help));
            }
        }
        axis
    }

    /// Add a value; `texts` are those of the values before it.
    fn take(&mut self, item: &Value<'i>, texts: &mut HashSet<String>, report: &mut Report) {
        let Some(value) = axis_value(item) else {
            let message = format!("{} cannot be a value of an axis", tree::kind_of(item));
            let help = "values of an axis are strings, integers, finite floats or booleans".to_owned();
            return report.add(Diagnostic::at(item.span(), message).with_help(help));
        };
        let bytes = value.to_string().len();
        if bytes > LONGEST_VALUE {
            let message =
                format!("a value of axis `{}` has {bytes} bytes; {LONGEST_VALUE} is the limit", self.name);
            return report.add(Diagnostic::at(item.span(), message));
        }
        // compared as text, which names the instances: 1 and "1" could not be told apart
        if !texts.insert(value.to_string()) {
            let message = format!("axis `{}` has the duplicate value `{value}`", self.name);
            return report.add(Diagnostic::at(item.span(), message));
        }
        self.values.push(value);
        self.raw.push(item.get_ref().clone());
    }
}

fn axis_value(item: &Value<'_>) -> Option<AxisValue> {
    match toml::Value::deserialize(ValueDeserializer::from(item.clone())).ok()? {
        toml::Value::String(text) => Some(AxisValue::String(text)),
        toml::Value::Integer(integer) => Some(AxisValue::Integer(integer)),
        toml::Value::Float(float) => float.is_finite().then_some(AxisValue::Float(float)),
        toml::Value::Boolean(truth) => Some(AxisValue::Boolean(truth)),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn check_name(name: &str, span: Span, report: &mut Report) {
    if let Some((message, help)) = wrong_name(name, "an axis") {
        report.add(Diagnostic::at(span, message).with_help(help));
    } else if RESERVED.contains(&name) {
        let help = match name {
            "data" => "`${data}` stands for the environment variable MEDMERGE_DATA",
            _ => "it is a column of metrics.csv",
        };
        let message = format!("an axis cannot be named `{name}`");
        report.add(Diagnostic::at(span, message).with_help(help.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::section;
    use super::*;

    fn sweep(text: &str) -> (Sweep<'_>, Vec<String>) {
        let mut report = Report::default();
        let sweep = Sweep::read(Some(section(text)), &mut report);
        (sweep, super::super::testing::messages(report))
    }

    #[test]
    fn the_product_changes_the_last_axis_fastest() {
        let (sweep, errors) = sweep("a = [1, 2]\nb = ['x', 'y']\nc = [true]");
        assert!(errors.is_empty(), "{errors:?}");
        let text = |point: &Point| {
            let at = sweep.coordinates(point);
            at.iter().map(|(axis, value)| format!("{axis}{value}")).collect::<String>()
        };
        let product: Vec<_> = sweep.product(&Axes::from([1, 0])).iter().map(text).collect();
        assert_eq!(product, ["a1bx", "a1by", "a2bx", "a2by"]);
        assert_eq!(sweep.product(&Axes::new()).len(), 1);
    }

    #[test]
    fn values_keep_their_types_and_have_short_texts() {
        let (sweep, _) = sweep("a = [1, 1.0, 1e-5, 'x', false, 0x10]");
        let texts: Vec<_> = sweep.axes[0].values.iter().map(AxisValue::to_string).collect();
        assert_eq!(texts, ["1", "1.0", "1e-5", "x", "false", "16"]);
    }

    #[test]
    fn errors_in_axes_are_reported() {
        let text =
            "a = []\nb = 3\nc = [1, '1']\nd = [[1], nan, 1979-05-27]\nmodel = [1]\n'e f' = [1]\ndata = [1]";
        assert_eq!(
            sweep(text).1,
            [
                "axis `a` has no values",
                "expected an array of values, found an integer",
                "axis `c` has the duplicate value `1`",
                "an array cannot be a value of an axis",
                "a float cannot be a value of an axis",
                "a date or time cannot be a value of an axis",
                "an axis cannot be named `model`",
                "\"e f\" is not a valid name of an axis",
                "an axis cannot be named `data`",
            ]
        );
    }

    #[test]
    fn a_sweep_with_too_many_combinations_is_an_error() {
        let axis: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        let text = format!("a = [{0}]\nb = [{0}]\nc = [{0}]", axis.join(", "));
        assert_eq!(sweep(&text).1, ["the axes have 1000000000 combinations; 100000 is the limit"]);
    }
}
