//! What a stage uses an input for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a stage uses an input or a data set for. The text form enters the fingerprint, so swapping two sources gives a
/// different result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `from`: the initial model of training.
    From,
    /// `source.<i>`: a model to merge, by its position.
    Source(usize),
    /// `candidate.<i>`: a model to select from, by the rank of its value on the axis.
    Candidate(usize),
    /// `anchor`: the model from which learning of merge weights starts.
    Anchor,
    /// `weights`: learned merge weights.
    Weights,
    /// `base`: the common initialization of all sources.
    Base,
    /// `model`: a model to evaluate; the order of models does not matter.
    Model,
    /// `ensemble.<i>.<averaged>`: a member of ensemble `i`.
    Member {
        /// Position of the ensemble among those of its stage.
        ensemble: usize,
        /// What the ensemble averages.
        averaged: Averaged,
    },
    /// `dataset`: the data set of the stage.
    Dataset,
    /// Any other word: a role of one kind that none of the above fits.
    Named(String),
}

/// What an ensemble averages over its members.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Averaged {
    /// Class probabilities, as in deep ensembles (Lakshminarayanan et al. 2017, arXiv 1612.01474, section 2.4).
    #[default]
    Probabilities,
    /// Logits; the probabilities are the softmax of their mean.
    Logits,
}

impl Averaged {
    /// As it is written in experiment files: `probabilities`, `logits`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Probabilities => "probabilities",
            Self::Logits => "logits",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Probabilities, Self::Logits].into_iter().find(|averaged| averaged.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From => f.write_str("from"),
            Self::Source(i) => write!(f, "source.{i}"),
            Self::Candidate(i) => write!(f, "candidate.{i}"),
            Self::Anchor => f.write_str("anchor"),
            Self::Weights => f.write_str("weights"),
            Self::Base => f.write_str("base"),
            Self::Model => f.write_str("model"),
            Self::Member { ensemble, averaged } => write!(f, "ensemble.{ensemble}.{}", averaged.as_str()),
            Self::Dataset => f.write_str("dataset"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl From<&str> for Role {
    fn from(text: &str) -> Self {
        match text {
            "from" => Self::From,
            "anchor" => Self::Anchor,
            "weights" => Self::Weights,
            "base" => Self::Base,
            "model" => Self::Model,
            "dataset" => Self::Dataset,
            other => numbered(other).unwrap_or_else(|| Self::Named(other.to_owned())),
        }
    }
}

fn numbered(text: &str) -> Option<Role> {
    if let Some(position) = text.strip_prefix("source.") {
        return canonical(position).map(Role::Source);
    }
    if let Some(position) = text.strip_prefix("candidate.") {
        return canonical(position).map(Role::Candidate);
    }
    let (position, averaged) = text.strip_prefix("ensemble.")?.split_once('.')?;
    Some(Role::Member { ensemble: canonical(position)?, averaged: Averaged::from_word(averaged)? })
}

/// Parses a position without sign or leading zeros, so that a role has a single text form.
fn canonical(text: &str) -> Option<usize> {
    usize::from_str(text).ok().filter(|position| position.to_string() == text)
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        let texts = [
            "from",
            "source.0",
            "source.12",
            "candidate.2",
            "anchor",
            "weights",
            "base",
            "model",
            "dataset",
            "ensemble.3.logits",
        ];
        for text in texts {
            let role = Role::from(text);
            assert!(!matches!(role, Role::Named(_)), "{text}");
            assert_eq!(role.to_string(), text);
        }
        for text in ["teacher", "source.x", "source.01", "ensemble.0.medians"] {
            assert_eq!(Role::from(text), Role::Named(text.into()));
        }
    }

    #[test]
    fn sources_are_ordered_by_position() {
        assert!(Role::Source(9) < Role::Source(10));
    }
}
