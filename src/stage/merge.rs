//! `merge`: several models into one plain checkpoint.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::repair::{Source, repair};
use super::*;
use merge_method::{KnownMerge, MergeMethodSpec, Merged, Merging, needs};
use model::batch_norm::reestimate_statistics;
use model::head::remove_head;
use nn::cost::{product, sum};

/// Sources and how to merge them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// Stages whose models to merge, of one backbone: two or more, but for methods that say otherwise.
    pub sources: Vec<String>,
    /// How.
    pub method: MergeMethodSpec,
    /// What becomes of batch norm's running statistics.
    #[serde(default)]
    pub batch_norm: BatchNormStatistics,
    /// Data set whose training images statistics are measured on, and which the method measures on.
    #[serde(default)]
    pub dataset: Option<String>,
}

/// What becomes of batch norm's running statistics in a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchNormStatistics {
    /// Measured anew on the data set's training images (no labels needed).
    #[default]
    Reestimate,
    /// As the method merged them.
    Merged,
    /// Measured anew; and a network without batch norm gets scales and shifts instead, so that each of its channels
    /// has the mean and the deviation that the sources' have (REPAIR, arXiv 2211.08403).
    Repair,
}

impl BatchNormStatistics {
    /// Whether images are needed.
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
                format!(
                    "`base` names `{base}`, which is one of the sources; its difference from itself is 0"
                ),
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

    /// The start that all sources share; for sources with different starts, the merged model is a start of its own.
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
        Ok(Description::Model(ModelInfo { head, ..merge.sources[0].clone() }))
    }

    /// The head, if there is one, adds little.
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
        let inference = network.inference(images).max(measuring.memory_bytes);
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
        let info = ModelInfo { head, ..merging.sources[0].info.clone() };
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
        Ok(Artifact::Model(checkpoint))
    }
}

impl MergeSpec {
    fn known<'a>(&'a self, known: &'a Known<'a>) -> Result<KnownMerge<'a>, Vec<String>> {
        let sources = known.sources(self.sources.len())?;
        Ok(KnownMerge { known, names: &self.sources, sources })
    }

    fn report_missing_base(&self, path: &str, problems: &mut Problems) {
        let name = self.method.kind();
        let message = format!(
            "`{name}` needs the common start that all sources were trained from: what it works on are the \
             differences of each source from that start, which mean nothing for models of different \
             initializations"
        );
        let help = format!(
            "name its stage: `method.{name} = {{ base = \"<stage>\" }}`; models without a common start can be \
             merged by `average` or `learned`"
        );
        problems.add(path, message, Some(help));
    }

    /// Whether batch norm's statistics can become what is asked.
    fn check_batch_norm(&self, merge: &KnownMerge<'_>) -> Result<(), Vec<String>> {
        match (self.batch_norm, merge.known.datasets.first()) {
            (BatchNormStatistics::Reestimate, None) => {
                Err(vec!["`batch_norm = \"reestimate\"` needs a `dataset` to measure on".into()])
            }
            (BatchNormStatistics::Repair, None) => {
                Err(vec!["`batch_norm = \"repair\"` needs a `dataset` to measure on".into()])
            }
            (BatchNormStatistics::Merged, None) if self.dataset.is_some() => {
                Err(vec!["`dataset` is not used with `batch_norm = \"merged\"`; leave it out".into()])
            }
            (BatchNormStatistics::Repair, Some(dataset)) => {
                self.repairable()?;
                dataset.suits(&merge.sources[0].backbone)
            }
            _ => Ok(()),
        }
    }

    /// Whether the method can measure what it must.
    fn check_measuring(&self, merge: &KnownMerge<'_>) -> Result<(), Vec<String>> {
        if self.method.splits().is_empty() {
            return Ok(());
        }
        let Some(dataset) = merge.known.datasets.first() else {
            return Err(vec!["`method` measures the sources, and needs a `dataset` to do so".into()]);
        };
        let mut problems = dataset.suits(&merge.sources[0].backbone).err().unwrap_or_default();
        problems.extend(self.method.unmeasurable(merge, dataset));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Whether the models began at one stage, as far as that is known, if the method takes it for granted.
    fn check_start(&self, known: &Known<'_>) -> Result<(), Vec<String>> {
        let base = self.method.base();
        if !self.method.needs_one_start() {
            return Ok(());
        }
        let sources = self.sources.iter().map(|name| format!("source `{name}`"));
        let base = base.map(|name| format!("`base = \"{name}\"`"));
        // The base is the input behind the sources.
        let names: Vec<String> = sources.chain(base.clone()).collect();
        let mut starts =
            names.iter().zip(&known.began_at).filter_map(|(name, start)| Some((name, (*start)?)));
        let reference = if base.is_some() { starts.next_back() } else { starts.next() };
        let Some((reference, start)) = reference else { return Ok(()) };
        let Some((other, _)) = starts.find(|(_, other)| *other != start) else { return Ok(()) };
        let method = self.method.kind();
        Err(vec![format!(
            "{other} began at another `pretrain` stage, or at a merge, than {reference}, but `{method}` is for models \
             that were trained from one start; name their common start, or merge them by `learned`, `git_rebasin` or \
             `average`"
        )])
    }

    /// The shares in which statistics of the sources are mixed to repair the merged network.
    fn repairable(&self) -> Result<Vec<f64>, Vec<String>> {
        let Some(shares) = self.method.shares(self.sources.len()) else {
            return Err(vec![
                "`batch_norm = \"repair\"` mixes the sources' statistics in the shares of an average, and this method \
                 has none; use it with `average` or `git_rebasin`"
                    .into(),
            ]);
        };
        match shares.iter().any(|&share| share < 0.0) {
            true => Err(vec![
                "`batch_norm = \"repair\"` needs weights from 0, as a deviation cannot be negative".into(),
            ]),
            false => Ok(shares),
        }
    }
}

/// Reports a number of sources that `what` does not take, and duplicates.
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
