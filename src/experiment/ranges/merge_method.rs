//! Options of merge methods.

use std::ops::RangeInclusive;

use super::Findings;
use crate::suggest;
use merge_method::MergeMethodSpec;

/// How many sources a merge needs, in words.
pub fn needs(takes: &RangeInclusive<usize>) -> String {
    match (*takes.start(), *takes.end()) {
        (least, usize::MAX) => format!("{least} {} or more", noun(least)),
        (least, most) if least == most => format!("exactly {least} {}", noun(least)),
        (least, most) => format!("{least} to {most} sources"),
    }
}

fn noun(count: usize) -> &'static str {
    if count == 1 { "source" } else { "sources" }
}

/// Values that are out of range.
pub(crate) fn values(spec: &MergeMethodSpec, sources: usize, f: &mut Findings) {
    f.under(&format!("method.{}", spec.name()), |f| match spec {
        MergeMethodSpec::Average(average) => shares(average.weights.as_deref(), sources, f),
        MergeMethodSpec::GitRebasin(rebasin) => shares(rebasin.weights.as_deref(), sources, f),
        MergeMethodSpec::WiseFt(wise_ft) => f.share_or_all("alpha", wise_ft.alpha),
        MergeMethodSpec::TaskArithmetic(arithmetic) => f.positive("scaling", arithmetic.scaling),
        MergeMethodSpec::Ties(ties) => {
            let right = ties.density > 0.0 && ties.density <= 1.0;
            f.check("density", ties.density, right, "above 0 and up to 1");
            f.positive("scaling", ties.scaling);
        }
        MergeMethodSpec::Dare(dare) => {
            f.share("drop", dare.drop);
            f.positive("scaling", dare.scaling);
        }
        MergeMethodSpec::Slerp(slerp) => f.share_or_all("t", slerp.t),
        MergeMethodSpec::GreedySoup(soup) => {
            if metric::by_name(&soup.metric).is_none() {
                let help = suggest::help(&soup.metric, metric::NAMES);
                f.add("metric", format!("unknown metric `{}`", soup.metric), help);
            }
        }
        MergeMethodSpec::Fisher(fisher) => {
            f.at_least("images", fisher.images, 1);
            f.positive("floor", fisher.floor);
            shares(fisher.weights.as_deref(), sources, f);
            for (i, &weight) in fisher.weights.iter().flatten().enumerate() {
                f.not_negative(&format!("weights.{i}"), weight);
            }
        }
        MergeMethodSpec::Regmean(regmean) => {
            f.at_least("images", regmean.images, 1);
            f.share_or_all("alpha", regmean.alpha);
        }
        MergeMethodSpec::UniformSoup(_) | MergeMethodSpec::ModelStock(_) | MergeMethodSpec::Learned(_) => {}
    });
}

/// A number for each source, if there are any.
fn shares(weights: Option<&[f64]>, sources: usize, f: &mut Findings) {
    let Some(weights) = weights else { return };
    if weights.len() != sources {
        f.add("weights", format!("{} weights for {sources} sources; give one for each", weights.len()), None);
    }
    let sum: f64 = weights.iter().sum();
    if sum <= 0.0 || !sum.is_finite() {
        f.add("weights", format!("the weights must have a positive sum, not {sum}"), None);
    }
}

/// A common start that is missing, or is no start.
pub(crate) fn base(spec: &MergeMethodSpec, sources: &[String], f: &mut Findings) {
    let Some(base) = spec.common_start() else { return };
    let (name, path) = (spec.name(), format!("method.{}", spec.name()));
    match base {
        None => f.add(
            &path,
            format!(
                "`{name}` needs the common start that all sources were trained from: what it works on are the \
                 differences of each source from that start, which mean nothing for models of different \
                 initialisations"
            ),
            Some(format!(
                "name its stage: `method.{name} = {{ base = \"<stage>\" }}`; models without a common start can be \
                 merged by `average` or `learned`"
            )),
        ),
        Some(base) if sources.contains(base) => f.add(
            &format!("{path}.base"),
            format!("`base` names `{base}`, which is one of the sources; its difference from itself is 0"),
            Some("name the model that the sources were trained from".into()),
        ),
        Some(_) => {}
    }
}
