//! `merge`: merge several models into one plain checkpoint.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::repair::{Source, repair};
use super::*;
use merge_method::{KnownMerge, MergeMethodSpec, Merged, Merging, needs};
use model::batch_norm::reestimate_statistics;
use model::head::remove_head;
use nn::cost::{product, sum};
use nn::finite::{first_non_finite, is_finite, is_negative_variance};
use train::eval_batch::EVAL_BATCH;

/// Merges several models into one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// Stages of the models to merge; two or more with the same backbone, unless the method requires otherwise.
    pub sources: Vec<String>,
    /// Merge method.
    pub method: MergeMethodSpec,
    /// Batch norm's running statistics after the merge.
    #[serde(default)]
    pub batch_norm: BatchNormStatistics,
    /// Data set for measuring batch norm's statistics and for methods that measure.
    #[serde(default)]
    pub dataset: Option<String>,
}

/// Batch norm's running statistics after a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchNormStatistics {
    /// Re-estimated on the data set's training images; no labels are needed.
    #[default]
    Reestimate,
    /// Merged by the method.
    Merged,
    /// Re-estimated; in a network without batch norm, each channel is rescaled to the mean and standard deviation of
    /// the sources' channels instead (REPAIR, arXiv 2211.08403).
    Repair,
}

impl BatchNormStatistics {
    /// Whether it needs images.
    fn is_measured(self) -> bool {
        self != Self::Merged
    }
}

impl Identity for MergeSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["sources", "dataset"]
    }

    fn options(&self) -> serde_json::Value {
        let options = identity::options::without(self.to_json(), self.left_out());
        replaced(options, "method", self.method.tagged_options())
    }
}

impl Kind for MergeSpec {
    fn validate(&self, problems: &mut Problems) {
        let (method, sources) = (&self.method, &self.sources);
        validate_sources(&format!("`{}`", method.kind()), sources, &method.takes(), problems);
        let path = format!("method.{}", method.kind());
        problems.under(&path, |problems| {
            method.validate(problems);
            method.validate_for(sources.len(), problems);
        });
        match method.common_start() {
            Some(None) => self.report_missing_base(&path, problems),
            Some(Some(base)) if sources.contains(base) => problems.add(
                &format!("{path}.base"),
                format!("`base` is `{base}`, which is also a source; its task vector would be 0"),
                Some("name the model that the sources were trained from".into()),
            ),
            _ => {}
        }
    }
}

impl Stage for MergeSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let own = self.method.inputs().into_iter().map(|(role, stage)| Input::new(role, stage));
        Input::sources(&self.sources).into_iter().chain(own).collect()
    }

    /// The start that all sources share; a merge of sources with different starts is a start of its own.
    fn began_at(&self, own: Fingerprint, inputs: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        let starts: Option<BTreeSet<Fingerprint>> = inputs[..self.sources.len()].iter().copied().collect();
        let starts = starts?;
        if starts.len() == 1 { starts.into_iter().next() } else { Some(own) }
    }

    fn datasets(&self) -> Vec<DataInput> {
        let mut splits = self.method.splits().to_vec();
        if self.batch_norm.is_measured() && !splits.contains(&SplitName::Train) {
            splits.insert(0, SplitName::Train);
        }
        let dataset = self.dataset.iter().filter(|_| !splits.is_empty());
        dataset.map(|name| DataInput::new(Role::Dataset, name, &splits)).collect()
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let merge = self.known(known)?;
        self.check_batch_norm(&merge)?;
        self.check_measuring(&merge)?;
        let head = self.method.head(&merge)?;
        self.check_start(known)?;
        for source in &merge.sources {
            known.datasets.iter().try_for_each(|dataset| dataset.reads_as(source))?;
        }
        let preprocessing = Preprocessing::shared(merge.sources.iter().copied());
        Ok(Description::Model(ModelInfo { head, preprocessing, ..merge.sources[0].clone() }))
    }

    /// The head's cost is negligible.
    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let sources = (0..self.sources.len()).map(|i| known.described_model(i)).collect();
        let merge = KnownMerge { known, names: &self.sources, sources };
        let dataset = known.datasets.first();
        let network = networks.get(&merge.sources[0].backbone, 0, dataset.map_or(0, |dataset| dataset.size));
        let bytes = network.bytes();
        let models = (self.sources.len() + usize::from(self.method.base().is_some())) as u64;
        let (copies, operations) = self.method.cost(models, &merge);
        let memory_bytes = product([bytes, sum([copies, 1])]);
        let plain =
            Work { operations, bytes_read: product([bytes, models]), memory_bytes, disk_bytes: bytes };
        let Some(dataset) = dataset else { return plain };
        let passes = match self.batch_norm {
            BatchNormStatistics::Merged => 0,
            _ if network.has_batch_norm() => 1,
            BatchNormStatistics::Reestimate => 0,
            BatchNormStatistics::Repair => models + 1,
        };
        let images = if passes > 0 { dataset.images(SplitName::Train) } else { 0 };
        let reestimating = product([network.features(), images, passes]);
        let measuring = self.method.measuring(&merge, reestimating, networks);
        if passes == 0 && measuring == Work::default() {
            return plain;
        }
        let inference = network.inference(images.min(EVAL_BATCH as u64)).max(measuring.memory_bytes);
        Work {
            operations: sum([operations, reestimating, measuring.operations]),
            memory_bytes: sum([memory_bytes, inference, dataset.decoded_bytes()]),
            ..plain
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let sources = (0..self.sources.len()).map(|i| context.model(i)).collect::<Result<Vec<_>, _>>()?;
        let reestimates = self.batch_norm == BatchNormStatistics::Reestimate;
        let merging = Merging { context, sources, names: &self.sources, reestimates };
        let Merged { mut tensors, head, permutations } = self.method.merge(&merging)?;
        let preprocessing = Preprocessing::shared(merging.sources.iter().map(|source| &source.info));
        let info = ModelInfo { head, preprocessing, ..merging.sources[0].info.clone() };
        if info.head.is_none() {
            remove_head(&mut tensors, &info.backbone);
        }
        let mut checkpoint = Checkpoint { info, tensors, history: Vec::new() };
        match self.batch_norm {
            BatchNormStatistics::Merged => {}
            BatchNormStatistics::Reestimate => {
                reestimate_statistics(&mut checkpoint, merging.dataset(), context)?;
            }
            BatchNormStatistics::Repair => {
                let shares = self.repairable().map_err(|messages| StageError::Failed(messages.join("; ")))?;
                let source = |((tensors, permutations), share)| Source { tensors, permutations, share };
                let sources = merging.state_dicts().into_iter().zip(&permutations).zip(shares).map(source);
                repair(&mut checkpoint, &sources.collect::<Vec<_>>(), merging.dataset(), context)?;
            }
        }
        self.check_finite(&checkpoint, &merging)?;
        check_variances(&checkpoint)?;
        Ok(Artifact::Model(checkpoint))
    }
}

impl MergeSpec {
    fn known<'a>(&'a self, known: &'a Known<'a>) -> Result<KnownMerge<'a>, Vec<String>> {
        let sources = known.sources(self.sources.len())?;
        Ok(KnownMerge { known, names: &self.sources, sources })
    }

    /// Check that the merged model is one: a single NaN spoils every output.
    fn check_finite(&self, merged: &Checkpoint, merging: &Merging<'_>) -> Result<(), StageError> {
        let Some(name) = first_non_finite(&merged.tensors)? else { return Ok(()) };
        for (source, stage) in merging.sources.iter().zip(&self.sources) {
            if let Some(tensor) = source.tensors.get(name)
                && !is_finite(tensor)?
            {
                return Err(StageError::Failed(format!(
                    "failed to merge `{name}`: source `{stage}` has NaN or infinite elements there; use another model"
                )));
            }
        }
        Err(StageError::Failed(format!(
            "failed to merge `{name}`: the result has NaN or infinite elements; check the options of the method"
        )))
    }

    fn report_missing_base(&self, path: &str, problems: &mut Problems) {
        let name = self.method.kind();
        let message = format!(
            "`{name}` needs the common start of all sources: it combines the \
             differences between each source and that start, which are meaningless for models with different \
             initializations"
        );
        let help = format!(
            "name its stage: `method.{name} = {{ base = \"<stage>\" }}`; models without a common start can be \
             merged by `average` or `learned`"
        );
        problems.add(path, message, Some(help));
    }

    /// Check that batch norm's statistics can be obtained as requested.
    fn check_batch_norm(&self, merge: &KnownMerge<'_>) -> Result<(), Vec<String>> {
        match (self.batch_norm, merge.known.datasets.first()) {
            (BatchNormStatistics::Reestimate, None) => {
                Err(vec!["`batch_norm = \"reestimate\"` needs a `dataset` to measure on".into()])
            }
            (BatchNormStatistics::Repair, None) => {
                Err(vec!["`batch_norm = \"repair\"` needs a `dataset` to measure on".into()])
            }
            (BatchNormStatistics::Merged, None) if self.dataset.is_some() => {
                Err(vec!["`dataset` is unused with `batch_norm = \"merged\"`; remove it".into()])
            }
            (BatchNormStatistics::Repair, Some(dataset)) => {
                self.repairable()?;
                dataset.suits(&merge.sources[0].backbone)
            }
            _ => Ok(()),
        }
    }

    /// Check that the method can measure what it needs.
    fn check_measuring(&self, merge: &KnownMerge<'_>) -> Result<(), Vec<String>> {
        if self.method.splits().is_empty() {
            return Ok(());
        }
        let Some(dataset) = merge.known.datasets.first() else {
            return Err(vec!["`method` needs a `dataset` to measure the sources on".into()]);
        };
        let mut problems = dataset.suits(&merge.sources[0].backbone).err().unwrap_or_default();
        problems.extend(self.method.unmeasurable(merge, dataset));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Check that the models share a start, as far as that is known, if the method requires it.
    fn check_start(&self, known: &Known<'_>) -> Result<(), Vec<String>> {
        let base = self.method.base();
        if !self.method.needs_one_start() {
            return Ok(());
        }
        let sources = self.sources.iter().map(|name| format!("source `{name}`"));
        // The base is the input after the sources.
        let names = sources.chain(base.map(|name| format!("`base = \"{name}\"`")));
        let names: Vec<String> = names.collect();
        let Some([other, reference]) = common_start::different(&names, &known.began_at, base.is_some())
        else {
            return Ok(());
        };
        let method = self.method.kind();
        Err(vec![format!(
            "{other} and {reference} start from different `pretrain` or `merge` stages, but `{method}` is for models \
             trained from a common start; use models with a common start, or `learned`, `git_rebasin` or \
             `average`"
        )])
    }

    /// The weights of the sources' statistics when the merged network is repaired.
    fn repairable(&self) -> Result<Vec<f64>, Vec<String>> {
        let Some(shares) = self.method.shares(self.sources.len()) else {
            return Err(vec![
                "`batch_norm = \"repair\"` averages the sources' statistics with the weights of the method, and this method \
                 has none; use it with `average` or `git_rebasin`"
                    .into(),
            ]);
        };
        match shares.iter().any(|&share| share < 0.0) {
            true => Err(vec![
                "`batch_norm = \"repair\"` needs non-negative weights, because a standard deviation cannot be negative".into(),
            ]),
            false => Ok(shares),
        }
    }
}

/// Check that variances are not negative: their square root would be NaN.
fn check_variances(merged: &Checkpoint) -> Result<(), StageError> {
    for (name, tensor) in &merged.tensors {
        if is_negative_variance(name, tensor)? {
            return Err(StageError::Failed(format!(
                "failed to merge `{name}`: the result has negative variances, which no network can compute with; use \
                 weights of 0 or more, or measure the statistics with `batch_norm = \"reestimate\"` and a `dataset`"
            )));
        }
    }
    Ok(())
}

/// Report duplicate sources and a number of sources that `what` does not accept.
pub(super) fn validate_sources(
    what: &str,
    sources: &[String],
    takes: &RangeInclusive<usize>,
    problems: &mut Problems,
) {
    if !takes.contains(&sources.len()) {
        problems.add("sources", format!("{what} needs {}, not {}", needs(takes), sources.len()), None);
    }
    problems.no_duplicates("sources", "source", sources);
}
