//! The templates: texts that are put together.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

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

/// The data set to transfer to.
pub(super) enum Target {
    /// Synthetic images.
    Phantom,
    /// Images that a CSV lists.
    Manifest {
        /// Path of the CSV, as seen from the experiment file.
        path: PathBuf,
        /// Side in pixels.
        size: usize,
        /// Whether the CSV has a column `split`.
        has_split: bool,
    },
}

/// Side of the target's synthetic images.
const PHANTOM_SIZE: usize = 28;

const RANDOM_SPLIT: &str = "split.random = { val = 0.15, test = 0.15, seed = 0 }     # stratified by class; by group with `columns.group`\n";

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
    /// Paths and texts of its files.
    pub(super) fn files(self, name: &str, folder: &Path, target: &Target) -> Vec<(PathBuf, String)> {
        if self == Self::Paper {
            let schema = |text: &str| text.replace("../../src/guide/reference/", "../");
            return PAPER.iter().map(|(file, text)| (folder.join(name).join(file), schema(text))).collect();
        }
        let path = folder.join(name).with_extension("toml");
        let size = target.size().to_string();
        let text = [
            include_str!("head.toml"),
            &target.text(),
            self.sources(),
            include_str!("train.toml"),
            self.stages(),
        ];
        let text = text.concat().replace("{name}", name).replace("{what}", self.what());
        let text = text.replace("{path}", &path.display().to_string()).replace("{size}", &size);
        vec![(path, text.trim_end().to_owned() + "\n")]
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

    fn sources(self) -> &'static str {
        if self == Self::OwnImages { "" } else { include_str!("sources.toml") }
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

impl Target {
    fn size(&self) -> usize {
        match self {
            Self::Phantom => PHANTOM_SIZE,
            Self::Manifest { size, .. } => *size,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Phantom => include_str!("phantom.toml").to_owned(),
            Self::Manifest { path, has_split, .. } => {
                let split = if *has_split { "" } else { RANDOM_SPLIT };
                let csv = toml::Value::String(path.display().to_string()).to_string();
                include_str!("manifest.toml")
                    .replace("{csv}", &csv)
                    .replace("{split}\n", &format!("{split}\n"))
            }
        }
    }
}
