//! The templates: texts that are put together.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::data::{Data, Role};

/// Names of the data sets of two sources, and of a single one.
const SOURCES: [&str; 2] = ["source_a_data", "source_b_data"];
const SOURCE: &str = "source_data";

/// What an experiment compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Template {
    /// Training from scratch, linear probe, fine-tuning, and both
    Transfer,
    /// Two sources of different initializations, merged for a target
    #[default]
    Merge,
    /// Learning rates, the best of which is chosen on validation images
    Sweep,
    /// Training on your own images
    OwnImages,
    /// The tables of the paper, in a folder; `medmerge check` says which data they need
    Paper,
}

macro_rules! paper {
    ($($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../experiments/paper/", $file)))),*]
    };
}

/// The files of `experiments/paper`.
const PAPER: &[(&str, &str)] = paper![
    "main.toml",
    "deit_base.toml",
    "granularity.toml",
    "anchor.toml",
    "merged_parts.toml",
    "sources.toml",
    "label_budget.toml",
    "origin.toml",
    "README.md",
    "parts/setting.toml",
    "parts/main.toml",
    "parts/resnet50.toml",
    "parts/deit_base.toml",
];

impl Template {
    /// Paths and texts of its files, for images of `size` pixels.
    pub(super) fn files(
        self,
        name: &str,
        folder: &Path,
        (target, sources): (&Data, &[Data]),
        size: usize,
    ) -> Vec<(PathBuf, String)> {
        if self == Self::Paper {
            let schema = |text: &str| text.replace("../../src/guide/reference/", "../");
            return PAPER.iter().map(|(file, text)| (folder.join(name).join(file), schema(text))).collect();
        }
        let path = folder.join(name).with_extension("toml");
        let names: &[&str] = if sources.len() > 1 { &SOURCES } else { &[SOURCE] };
        let of_sources = sources.iter().zip(names).map(|(source, name)| source.text(name, Role::Source));
        let data = [target.text("target", Role::Target)].into_iter().chain(of_sources);
        let parts = [include_str!("head.toml").to_owned()]
            .into_iter()
            .chain(data)
            .chain([include_str!("train.toml").to_owned(), self.stages().to_owned()]);
        let parts: Vec<String> = parts.map(|part| part.trim().to_owned()).collect();
        let text = parts.join("\n\n").replace("{name}", name).replace("{what}", self.what());
        let text = text.replace("{path}", &path.display().to_string()).replace("{size}", &size.to_string());
        vec![(path, text + "\n")]
    }

    /// The number of sources.
    pub(super) fn sources(self) -> usize {
        match self {
            Self::Merge => 2,
            Self::Transfer | Self::Sweep => 1,
            Self::OwnImages | Self::Paper => 0,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Transfer => "Ways of starting a task from a pretrained network.",
            Self::Merge => "Two sources of different initializations, merged for a target.",
            Self::Sweep => "Fine-tuning with a learning rate that is chosen on validation images.",
            Self::OwnImages => "A network trained on own images.",
            Self::Paper => "",
        }
    }

    fn stages(self) -> &'static str {
        match self {
            Self::Transfer => include_str!("transfer.toml"),
            Self::Merge => include_str!("merge.toml"),
            Self::Sweep => include_str!("sweep.toml"),
            Self::OwnImages => include_str!("own_images.toml"),
            Self::Paper => "",
        }
    }

    /// Which templates there are, and which is taken for an empty answer.
    pub(super) fn question() -> String {
        let lines = Self::value_variants().iter().filter_map(ValueEnum::to_possible_value).map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            format!("  {:<12}{help}\n", value.get_name())
        });
        format!("Templates:\n{}Template [merge]: ", lines.collect::<String>())
    }

    /// # Errors
    /// A message: there is no such template.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        match name {
            "" => Ok(Self::default()),
            name => Self::from_str(name, true).map_err(|error| format!("template {name:?}: {error}")),
        }
    }
}
