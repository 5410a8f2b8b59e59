//! Which options of `learn_merge_weights` go together, and with which models.

use super::*;
use merge_method::KnownMerge;

/// Merge weights of a common start's task vectors start here (AdaMerging, arXiv 2310.02575).
const START_WITH_BASE: f64 = 0.3;

impl LearnMergeWeightsSpec {
    /// Report a `start` that the constraint forbids.
    pub(super) fn validate_start(&self, problems: &mut Problems) {
        let Some(start) = self.start else { return };
        match self.constraint {
            Constraint::None => problems.not_negative("start", start),
            Constraint::Box => problems.fraction("start", start),
            Constraint::Convex => problems.add(
                "start",
                "`constraint = \"convex\"` needs merge weights with sum 1, so they start at 1 / sources, or at the anchor",
                Some("leave `start` out".into()),
            ),
        }
    }

    /// Report a base that is a source, or that cancels out.
    pub(super) fn validate_base(&self, problems: &mut Problems) {
        let Some(base) = &self.base else { return };
        if self.sources.contains(base) {
            let message = format!("`base` is `{base}`, which is also a source; its task vector would be 0");
            problems.add("base", message, Some("name the model that the sources were trained from".into()));
        }
        if self.constraint == Constraint::Convex {
            let message =
                "`constraint = \"convex\"` is for merge weights with sum 1, where a base cancels out";
            problems.add("base", message, Some("leave `base` out, or set `constraint = \"box\"`".into()));
        }
    }

    /// Report a head that a loss without labels would leave random.
    pub(super) fn validate_head(&self, problems: &mut Problems) {
        if self.train.loss.uses_labels() || !self.has_new_head() {
            return;
        }
        let loss = self.train.loss.kind();
        let message = format!("`loss = \"{loss}\"` trains no head, so a new one would stay random");
        let help = match self.anchor {
            Some(_) => "leave `head` out, to keep the anchor's",
            None => "set `anchor`, to keep its head, or `head = \"mean\"`",
        };
        problems.add("head", message, Some(help.into()));
    }

    /// Whether the head starts with random weights.
    pub(super) fn has_new_head(&self) -> bool {
        match self.head {
            StartingHead::New => true,
            StartingHead::Anchor => self.anchor.is_none(),
            StartingHead::Mean => false,
        }
    }

    /// Initial merge weight of a learned source.
    pub(super) fn start(&self, source: usize) -> f32 {
        if let Some(start) = self.start {
            return start as f32;
        }
        match self.anchor_index() {
            Some(anchor) if anchor == source => 1.0,
            Some(_) => 0.0,
            None if self.base.is_some() => START_WITH_BASE as f32,
            None => 1.0 / self.sources.len() as f32,
        }
    }

    /// Check options that need an anchor.
    pub(super) fn check_anchor(&self) -> Result<(), Vec<String>> {
        let of_norms = match self.norms {
            Norms::Merged => None,
            Norms::Anchor => Some("anchor"),
            Norms::Trained => Some("trained"),
        };
        if let Some(norms) = of_norms.filter(|_| self.anchor.is_none()) {
            return Err(vec![format!("`norms = \"{norms}\"` needs an `anchor`")]);
        }
        if self.anchor_weight == AnchorWeight::Learned {
            return Ok(());
        }
        if self.anchor.is_none() {
            return Err(vec!["`anchor_weight = \"fixed\"` needs an `anchor`".into()]);
        }
        if self.constraint == Constraint::Convex {
            return Err(vec![
                "`constraint = \"convex\"` with a fixed anchor of weight 1 leaves nothing to learn; use \
                 `anchor_weight = \"learned\"`, or another constraint"
                    .into(),
            ]);
        }
        Ok(())
    }

    /// Check that each model whose head is taken has one for the data set.
    pub(super) fn check_heads(&self, sources: &[&ModelInfo], head: &Head) -> Result<(), Vec<String>> {
        let (who, taken) = match self.head {
            StartingHead::New => ("", Vec::new()),
            StartingHead::Anchor => ("anchor", self.anchor_index().into_iter().collect()),
            StartingHead::Mean => ("source", (0..sources.len()).collect()),
        };
        let fits = |had: &Head| had.is_like(head);
        let lacking = taken.into_iter().filter(|&i| !sources[i].head.as_ref().is_some_and(fits));
        let problem = |i: usize| {
            format!(
                "the {who} `{}` has no head for the classes of data set `{}`; probe it first: a `finetune` stage \
                 with `trainable = \"head\"`",
                self.sources[i], self.dataset
            )
        };
        let problems: Vec<String> = lacking.map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Check that the base is the common start of the sources, as far as that is known.
    pub(super) fn check_base(&self, known: &Known<'_>, sources: &[&ModelInfo]) -> Result<(), Vec<String>> {
        let Some(base) = &self.base else { return Ok(()) };
        KnownMerge { known, names: &self.sources, sources: sources.to_vec() }.base(base)?;
        let names = self.sources.iter().map(|name| format!("source `{name}`"));
        let names: Vec<String> = names.chain([format!("`base = \"{base}\"`")]).collect();
        match common_start::different(&names, &known.began_at, true) {
            None => Ok(()),
            Some([other, reference]) => Err(vec![format!(
                "{other} and {reference} start from different `pretrain` or `merge` stages, but a base must be the \
                 common start of all sources; leave `base` out, or use models with a common start"
            )]),
        }
    }
}
