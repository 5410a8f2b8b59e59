//! `${axis}` and `${data}` in strings; `$${` stands for a literal `${`.

use toml::Spanned;
use toml::de::DeValue;

use super::Span;
use super::error::{Diagnostic, Report};
use super::sweep::{Axes, Point, Sweep};
use super::tree::{self, Value};
use kind::suggest;

/// The variable for the folder of the data sets.
const DATA: &str = "data";

/// The variables that `${…}` can refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a, 'i> {
    /// The axes.
    pub(super) sweep: &'a Sweep<'i>,
    /// The value of `${data}`, if it is set.
    pub(super) data: Option<&'a str>,
}

/// A piece of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
}

/// A `${` without its `}`.
#[derive(Debug, PartialEq, Eq)]
struct Unclosed;

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Unclosed> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        pieces.push(Piece::Text(before));
        if let Some(after) = tail.strip_prefix("$${") {
            pieces.push(Piece::Text("${"));
            rest = after;
        } else if let Some(inner) = tail.strip_prefix("${") {
            let (name, after) = inner.split_once('}').ok_or(Unclosed)?;
            pieces.push(Piece::Name(name));
            rest = after;
        } else {
            pieces.push(Piece::Text("$"));
            rest = &tail[1..];
        }
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Ok(pieces)
}

impl<'i> Scope<'_, 'i> {
    /// The axes used in the strings of a value. Every invalid `${…}` is reported; the axis that was probably meant
    /// counts as used.
    pub(super) fn mentions(&self, value: &Value<'_>, report: &mut Report) -> Axes {
        let mut axes = Axes::new();
        for (_, text, span) in tree::strings(value) {
            let Ok(pieces) = pieces(text) else {
                let help = "close it with `}`, or write `$${` for a literal `${`".to_owned();
                report.add(Diagnostic::at(span, "a `${` is not closed").with_help(help));
                continue;
            };
            for piece in pieces {
                if let Piece::Name(name) = piece {
                    axes.extend(
                        self.sweep.position(name).or_else(|| self.check_variable(name, &span, report)),
                    );
                }
            }
        }
        axes
    }

    /// Report an unknown variable; returns the axis that was probably meant.
    fn check_variable(&self, name: &str, span: &Span, report: &mut Report) -> Option<usize> {
        if name != DATA {
            let mut known = self.sweep.names();
            known.push(DATA);
            let message = format!("unknown axis `{name}` in `${{{name}}}`");
            report.add(Diagnostic::at(span.clone(), message).with_help(suggest::help(name, &known)));
        } else if self.data.is_none() {
            let message = "`${data}` has no value: the environment variable MEDMERGE_DATA is not set";
            let help = "set it to the folder of data sets, as in `MEDMERGE_DATA=/data medmerge …`".to_owned();
            report.add(Diagnostic::at(span.clone(), message).with_help(help));
        }
        self.sweep.position(suggest::nearest(name, &self.sweep.names())?)
    }

    /// Substitute every `${…}`. A string that consists of one `${axis}` takes the type of the axis's value; a string
    /// with unknown variables is left unchanged.
    pub(super) fn fill(&self, value: &mut Value<'i>, point: &Point) {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) if text.contains('$') => {
                if let Some(filled) = self.filled(text, point) {
                    *value = Spanned::new(span, filled);
                }
            }
            DeValue::Array(items) => items.iter_mut().for_each(|item| self.fill(item, point)),
            DeValue::Table(table) => table.iter_mut().for_each(|(_, inner)| self.fill(inner, point)),
            _ => {}
        }
    }

    fn filled(&self, text: &str, point: &Point) -> Option<DeValue<'i>> {
        let pieces = pieces(text).ok()?;
        let axis = |name: &str| self.sweep.value(self.sweep.position(name)?, point);
        if let [Piece::Name(name)] = pieces[..]
            && let Some((_, raw)) = axis(name)
        {
            return Some(raw.clone());
        }
        let written = |piece: &Piece<'_>| match *piece {
            Piece::Text(text) => Some(text.to_owned()),
            Piece::Name(DATA) => self.data.map(str::to_owned),
            Piece::Name(name) => axis(name).map(|(value, _)| value.to_string()),
        };
        let filled = pieces.iter().map(written).collect::<Option<String>>()?;
        Some(DeValue::String(filled.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{messages, section};
    use super::*;

    const AXES: &str = "lr = [0.1, 1e-3]\ntarget = ['fundus', 'lesions']";

    fn filled(text: &str, data: Option<&str>) -> String {
        let sweep = Sweep::read(Some(section(AXES)), &mut Report::default());
        let scope = Scope { sweep: &sweep, data };
        let mut value = section(text);
        scope.fill(&mut value, &Point::from([(0, 1), (1, 0)]));
        let value =
            <toml::Table as serde::Deserialize>::deserialize(toml::de::ValueDeserializer::from(value));
        value.unwrap()["x"].to_string()
    }

    #[test]
    fn a_string_that_is_one_axis_takes_its_type() {
        assert_eq!(filled("x = '${lr}'", None), "0.001");
        assert_eq!(filled("x = 'lr ${lr}'", None), "\"lr 0.001\"");
        assert_eq!(filled("x = ['${target}', { y = '${lr}' }]", None), "[\"fundus\", { y = 0.001 }]");
    }

    #[test]
    fn data_and_literal_braces_are_filled_in() {
        assert_eq!(filled("x = '${data}/${target}.npz'", Some("/d")), "\"/d/fundus.npz\"");
        assert_eq!(filled("x = '$${target} costs 3$'", None), "\"${target} costs 3$\"");
        assert_eq!(filled("x = '${data}'", None), "\"${data}\"");
    }

    #[test]
    fn used_axes_are_found_and_unknown_ones_reported() {
        let sweep = Sweep::read(Some(section(AXES)), &mut Report::default());
        let scope = Scope { sweep: &sweep, data: None };
        let mut report = Report::default();
        let value = section("a = '${target}'\nb = ['${taget}', '${data}', '${x', '$${lr}']");
        assert_eq!(scope.mentions(&value, &mut report), Axes::from([1]));
        assert_eq!(
            messages(report),
            [
                "unknown axis `taget` in `${taget}`",
                "`${data}` has no value: the environment variable MEDMERGE_DATA is not set",
                "a `${` is not closed",
            ]
        );
    }
}
