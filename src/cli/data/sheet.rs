//! `medmerge data sheet`.

use std::io::Write;

use clap::{Args, ValueEnum};

use super::Error;
use super::named::OneDataset;
use crate::cli::Global;
use crate::cli::experiments::did_you_mean;
use crate::cli::output::stdout;
use crate::dataset::sheet::{self, Lines, choose};
use crate::dataset::{Dataset, SplitName};
use crate::experiment::{DatasetInstance, Experiment, StageInstance};
use crate::kind::text::visible;
use crate::store::outside::look;
use crate::store::{Digests, Store};
use crate::train::augmentation::{AugmentationSpec, Changes};
use crate::train::{Augment, TrainSpec};

/// Draw images of each class, as a network sees them, and augmented
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge data sheet experiments/main.toml --dataset ham --out ham.png
  medmerge data sheet experiments/main.toml --dataset ham --out ham.png --split test --images 12 --seed 1
  medmerge data sheet experiments/main.toml --dataset ham --out ham.png --augment
  medmerge data sheet experiments/main.toml --dataset ham --out ham.png --augment final_ft --variants 5
  medmerge data sheet experiments/main.toml --dataset ham --out ham.png --augment medium

Images are resized, not normalized. Each class has a line of images and, with --augment, lines of their
variants below, without mixup and cutmix, which mix several. The names of the classes are printed, from top
to bottom. Small images are enlarged.")]
pub(in crate::cli) struct Sheet {
    #[command(flatten)]
    of: OneDataset,
    /// Number of images of each class
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    images: u16,
    /// Split to draw images from
    #[arg(long, value_enum, value_name = "SPLIT", default_value = "train")]
    split: SplitArgument,
    /// Also draw images as `augment` of a stage changes them, or a single transform or preset [default: `augment` of the
    /// stages that train on the data set, if it is the same in all of them, or else that of [train]]
    #[arg(long, value_name = "STAGE|KIND", num_args = 0..=1)]
    augment: Option<Option<String>>,
    /// Number of augmented variants of each image
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    variants: u16,
    /// Seed of the choice of images and of the variants
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SplitArgument {
    Train,
    Val,
    Test,
}

impl From<SplitArgument> for SplitName {
    fn from(split: SplitArgument) -> Self {
        match split {
            SplitArgument::Train => Self::Train,
            SplitArgument::Val => Self::Val,
            SplitArgument::Test => Self::Test,
        }
    }
}

impl Sheet {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let experiment = self.of.load()?;
        let instance = self.of.find(&experiment)?;
        let named = self.augment.as_ref().map(|name| augment(&experiment, instance, name.as_deref()));
        let (augment, whose) = named.transpose()?.unzip();
        let dataset = load(instance, &global.open_store_to_read()?)?;
        augment
            .as_ref()
            .map_or(Ok(()), |augment| augment.fits(dataset.size, instance.spec.cache_size()))
            .map_err(|why| Error::Usage(why.join("; ")))?;
        let chosen = choose(&dataset, self.split.into(), self.images.into(), self.seed);
        let lines = augment.as_ref().map_or(1, |_| 1 + usize::from(self.variants));
        let columns = chosen.iter().map(Vec::len).max().unwrap_or(0);
        let sheet =
            sheet::Sheet::new(self.of.out(), dataset.size, columns, &vec![lines; dataset.classes.len()])?;
        let classes: Vec<Lines> =
            chosen.iter().map(|positions| self.lines(&dataset, positions, augment.as_ref())).collect();
        self.of.write(&sheet.png(self.of.out(), &classes)?)?;
        self.report(&dataset, &chosen, whose.as_deref())
    }

    /// The images at these positions, then their variants.
    fn lines(&self, dataset: &Dataset, positions: &[usize], augment: Option<&Augment>) -> Lines {
        let split = dataset.split(self.split.into());
        let length = split.image_bytes();
        let applied = |changes: Changes, position: usize| {
            let image = &split.pixels[position * length..][..length];
            changes.applied(image, dataset.size, &mut Default::default()).to_vec()
        };
        let plain = positions.iter().map(|&position| applied(Changes::default(), position)).collect();
        let changed = |augment: &Augment, epoch: usize, position: usize| {
            applied(augment.draw(self.seed, epoch, position), position)
        };
        let variants = augment.into_iter().flat_map(|augment| {
            let line = move |epoch| positions.iter().map(|&at| changed(augment, epoch, at)).collect();
            (0..usize::from(self.variants)).map(line).collect::<Vec<_>>()
        });
        std::iter::once(plain).chain(variants).collect()
    }

    fn report(&self, dataset: &Dataset, chosen: &[Vec<usize>], whose: Option<&str>) -> Result<(), Error> {
        let mut out = stdout();
        let (path, split) = (self.of.out().display(), SplitName::from(self.split).as_str());
        let augmented =
            whose.map_or_else(String::new, |whose| format!(", augmented as by {}", visible(whose)));
        writeln!(out, "{path}: images of {split}{augmented}; classes from top to bottom:")?;
        for (class, positions) in dataset.classes.iter().zip(chosen) {
            writeln!(out, "  {} ({})", visible(class), positions.len())?;
        }
        Ok(())
    }
}

/// The images, decoded as for a stage.
fn load(instance: &DatasetInstance, store: &Store) -> Result<Dataset, Error> {
    let (size, summary) = Digests::new(store).look_once(&instance.spec, look)?;
    let whole = instance.spec.load(Some(&store.data_cache(&summary.digest, size)))?;
    Ok(instance.labels.dataset(whole))
}

/// The transforms to draw, and whose they are: those of the stage or kind with this name, or else those that all stages
/// on the data set share, or else those of `[train]`.
fn augment(
    experiment: &Experiment,
    instance: &DatasetInstance,
    name: Option<&str>,
) -> Result<(Augment, String), Error> {
    let trained = experiment.stages.iter().filter_map(|stage| Some((stage, stage.spec.train()?)));
    let trained: Vec<Trained<'_>> = trained.collect();
    match name {
        Some(name) => named(experiment, &trained, name),
        None => shared(experiment, &trained, instance).or_else(|error| of_train(experiment).ok_or(error)),
    }
}

/// A stage that trains, and how.
type Trained<'e> = (&'e StageInstance, &'e TrainSpec);

fn named(experiment: &Experiment, trained: &[Trained<'_>], name: &str) -> Result<(Augment, String), Error> {
    let is_named = |(stage, _): &&Trained<'_>| stage.name == name || stage.id() == name;
    if let Some((stage, train)) = trained.iter().find(is_named) {
        return Ok((train.augment.clone(), format!("stage `{}`", stage.id())));
    }
    if AugmentationSpec::KINDS.contains(&name)
        && let Ok(augment) = serde_json::from_value(serde_json::json!([{ name: {} }]))
    {
        return Ok((augment, format!("`{name}`")));
    }
    let path = experiment.source.path.display();
    let stages = trained.iter().map(|(stage, _)| stage.name.as_str());
    let nearest = did_you_mean(name, stages.chain(AugmentationSpec::KINDS.iter().copied()));
    Err(Error::Usage(format!(
        "failed to find a stage {name:?} that trains in {path}, or a transform{nearest}"
    )))
}

fn shared(
    experiment: &Experiment,
    trained: &[Trained<'_>],
    instance: &DatasetInstance,
) -> Result<(Augment, String), Error> {
    let is_on = |stage: &StageInstance| {
        stage.datasets.iter().any(|&index| experiment.datasets[index].name == instance.name)
    };
    let on: Vec<_> = trained.iter().filter(|(stage, _)| is_on(stage)).collect();
    let id = instance.id();
    match on.as_slice() {
        [] => Err(Error::Usage(format!(
            "no stage trains on data set `{id}`, and `[train]` has no `augment`; name one: --augment STAGE or a \
             transform"
        ))),
        [(_, first), others @ ..] if others.iter().all(|(_, other)| other.augment == first.augment) => {
            Ok((first.augment.clone(), format!("the stages on data set `{id}`")))
        }
        several => {
            let mut names: Vec<&str> = several.iter().map(|(stage, _)| stage.name.as_str()).collect();
            names.dedup();
            let names = names.join(", ");
            Err(Error::Usage(format!(
                "the stages on data set `{id}` differ in `augment`; choose one: --augment STAGE, of {names}"
            )))
        }
    }
}

/// The transforms of `[train]`, if it has the same at every combination of its axes.
fn of_train(experiment: &Experiment) -> Option<(Augment, String)> {
    let (first, others) = experiment.train.split_first()?;
    let is_clear = !first.augment.0.is_empty() && others.iter().all(|other| other.augment == first.augment);
    is_clear.then(|| (first.augment.clone(), "`[train]`".into()))
}
