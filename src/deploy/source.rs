//! A finished model, and what is known of its origin.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use candle_core::Device;
use safetensors::SafeTensors;
use serde_json::Value;

use super::timm_folder;
use crate::dataset::{PixelSpec, pixels::CropMode};
use crate::error::Error;
use crate::identity::Fingerprint;
use crate::kind::{Kind, Problem, Problems, file};
use crate::nn::StateDict;
use crate::stage::import::{ImportHead, ImportSpec};
use crate::stage::{Artifact, Checkpoint, Description, Head, ModelInfo};
use crate::store::{Lineage, Store, checkpoint, map_file, provenance};

/// The file of a model in a folder.
pub const MODEL: &str = "model.safetensors";

/// The configuration of a model of timm in a folder, and its largest length in bytes.
const CONFIG: &str = "config.json";
const LARGEST_CONFIG: u64 = 64 << 20;

/// Sides of images in pixels.
const SIZES: RangeInclusive<usize> = 1..=4096;

/// A model with its origin. Tensors are on the CPU.
#[derive(Debug)]
pub struct Source {
    /// Where it was found, for messages.
    pub place: String,
    /// The model.
    pub model: Checkpoint,
    /// Its origin; `None` if no stage made it.
    pub lineage: Option<Lineage>,
    /// Metadata of its file.
    pub metadata: HashMap<String, String>,
}

/// How images become the input of a model; its normalization is in [`ModelInfo`].
#[derive(Clone, Debug)]
pub struct Input {
    /// Side in pixels.
    pub size: usize,
    /// From an image file to a square of pixels.
    pub pixels: PixelSpec,
}

impl Input {
    /// Side to which an image is resized before its center is cut out.
    pub fn full(&self) -> usize {
        (self.size as f64 / self.pixels.crop_pct).floor() as usize
    }

    /// What is to be done with images before timm's or another program's transforms.
    pub fn caveats(&self, by_timm: bool) -> Vec<String> {
        let PixelSpec { trim_borders, bits, window, crop_mode, .. } = &self.pixels;
        let bits = bits.map(|bits| {
            format!(
                "scale 16-bit images to 8 bits first, so that level {} becomes 255",
                (1u32 << bits.min(16)) - 1
            )
        });
        let window = window.map(|[center, width]| {
            format!("apply the window of center {center} and width {width} to DICOM files first")
        });
        let trim = "cut off the dark borders of images first, as `trim_borders` does";
        let border = "pad images with black to squares first: timm pads with the mean color";
        let upright = "turn images upright first if their EXIF data say so: timm does not";
        let when = |holds: bool, caveat: &str| holds.then(|| caveat.to_owned());
        let others = [
            when(*trim_borders, trim),
            when(by_timm && *crop_mode == CropMode::Border, border),
            when(by_timm, upright),
        ];
        bits.into_iter().chain(window).chain(others.into_iter().flatten()).collect()
    }
}

impl Source {
    /// The model of an entry in a store; its digest is verified.
    ///
    /// # Errors
    /// The entry is damaged, or has no model.
    pub fn of_entry(store: &Store, fingerprint: &Fingerprint) -> Result<Self, Error> {
        let place = format!("entry {} of {}", fingerprint.short(), store.root().display());
        let gone = || Error::Usage(format!("{place} is damaged and was set aside"));
        let manifest = store.manifest(fingerprint)?.ok_or_else(gone)?;
        if let Some(refusal) = refusal(&manifest.header.description) {
            return Err(Error::Usage(format!("{place} {refusal}")));
        }
        let (Artifact::Model(model), Some(file)) = (store.get(fingerprint)?, store.model_file(&manifest))
        else {
            return Err(Error::Usage(format!("{place} has no model")));
        };
        let lineage = Some(Lineage::of_entry(store, fingerprint)?);
        Ok(Self { place, model, lineage, metadata: metadata(&file)? })
    }

    /// The model in a safetensors file whose metadata describe it, or in a folder with such a file, or with any and
    /// timm's `config.json`.
    ///
    /// # Errors
    /// The file cannot be read, is not described, or does not have the tensors of its backbone.
    pub fn of_path(path: &Path, store: Option<&Store>) -> Result<Self, Error> {
        let file = if path.is_dir() { path.join(MODEL) } else { path.to_owned() };
        let metadata = metadata(&file)?;
        let config = path.join(CONFIG);
        let (info, lineage) = match !metadata.contains_key(checkpoint::KEY) && config.is_file() {
            true => (of_timm(&config)?, None),
            false => described(&file, &metadata, store)?,
        };
        let model = import(&file, info)?;
        Ok(Self { place: path.display().to_string(), model, lineage, metadata })
    }

    /// Name of the stage that made it, if known.
    pub fn stage(&self) -> Option<&str> {
        let lineage = self.lineage.as_ref()?;
        lineage.known.get(&lineage.root)?.names.first().map(String::as_str)
    }

    /// Its classifier.
    ///
    /// # Errors
    /// It has none.
    pub fn head(&self) -> Result<&Head, Error> {
        let missing = || {
            Error::Usage(format!(
                "the model of {} has no classifier, and so no classes; use one that a `finetune` or `evaluate` stage \
                 used, or import it with `head.keep`",
                self.place
            ))
        };
        self.model.info.head.as_ref().ok_or_else(missing)
    }

    /// How images become its input; with another side in pixels if asked for.
    ///
    /// # Errors
    /// The side is unknown, or the backbone does not take such images.
    pub fn input(&self, size: Option<usize>) -> Result<Input, Error> {
        let pixels = self.model.info.preprocessing.pixels.clone();
        Ok(Input { size: self.size(size)?, pixels: pixels.unwrap_or_else(|| self.pixels_of_dataset()) })
    }

    /// Side of its images in pixels: as asked for, as its backbone needs, as it says, or else as in the data set of its
    /// classifier.
    fn size(&self, asked: Option<usize>) -> Result<usize, Error> {
        let backbone = &self.model.info.backbone;
        let sizes = backbone.build().image_sizes();
        let only = (sizes.start() == sizes.end()).then_some(*sizes.start());
        let (said, place) = (self.model.info.preprocessing.size, &self.place);
        let Some(size) = asked.or(only).or(said).or_else(|| self.of_dataset("size")) else {
            return Err(Error::Usage(format!(
                "the model of {place} does not say the size of its images; set it with --size N, as `size` in the \
                 data set that it was trained on"
            )));
        };
        if !SIZES.contains(&size) {
            return Err(Error::Usage(format!(
                "the model of {place} takes images of {size} pixels, but only {} to {} are supported",
                SIZES.start(),
                SIZES.end()
            )));
        }
        if sizes.contains(&size) {
            return Ok(size);
        }
        Err(Error::Usage(format!(
            "{backbone} takes images of {} pixels, not {size}; omit --size",
            sizes.start()
        )))
    }

    /// Of a model of an earlier version, which does not say it: data sets had no other choice than `bits`.
    fn pixels_of_dataset(&self) -> PixelSpec {
        PixelSpec { bits: self.of_dataset("bits"), ..PixelSpec::default() }
    }

    /// An option of the data set of its classifier, if it is known and set.
    fn of_dataset<T: FromStr>(&self, option: &str) -> Option<T> {
        let dataset = self.model.info.head.as_ref()?.dataset?;
        let fields = &self.lineage.as_ref()?.known.get(&dataset)?.fields;
        fields.iter().find(|field| field.path == option)?.value.parse().ok()
    }

    /// The tensors on a device.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn tensors(&self, device: &Device) -> candle_core::Result<StateDict> {
        let tensors = self.model.tensors.iter();
        tensors.map(|(name, tensor)| Ok((name.clone(), tensor.to_device(device)?))).collect()
    }
}

/// Why an entry is not a model.
fn refusal(description: &Description) -> Option<&'static str> {
    match description {
        Description::Model(_) => None,
        Description::MergeWeights { .. } => Some(MERGE_WEIGHTS),
        Description::Scores => {
            Some("holds predictions, not a model; name one of the models that were evaluated")
        }
    }
}

const MERGE_WEIGHTS: &str = "holds merge weights, not a model; name the `merge` stage that applies them";

/// Metadata of a safetensors file.
fn metadata(path: &Path) -> Result<HashMap<String, String>, Error> {
    let unreadable = |message: String| Error::Read { path: path.to_owned(), message };
    let map = map_file(path).map_err(|error| unreadable(error.to_string()))?;
    let not_safetensors = |error| {
        unreadable(format!(
            "it is not a safetensors file ({error}); import it in an experiment, see: medmerge guide \
             own-data-and-checkpoints"
        ))
    };
    let (_, header) = SafeTensors::read_metadata(&map).map_err(not_safetensors)?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// What timm's configuration says of a model.
fn of_timm(config: &Path) -> Result<ModelInfo, Error> {
    let unreadable = |message: String| Error::Read { path: config.to_owned(), message };
    let bytes = file::read(config, LARGEST_CONFIG).map_err(|error| unreadable(error.to_string()))?;
    timm_folder::info(&String::from_utf8_lossy(&bytes)).map_err(unreadable)
}

/// What a file's metadata say of its model and of its origin.
fn described(
    path: &Path,
    metadata: &HashMap<String, String>,
    store: Option<&Store>,
) -> Result<(ModelInfo, Option<Lineage>), Error> {
    let unreadable = |message: String| Error::Read { path: path.to_owned(), message };
    let silent = || {
        unreadable(format!(
            "its metadata do not describe the model under the key `{}`; import it in an experiment, or describe it, \
             see: medmerge guide own-data-and-checkpoints",
            checkpoint::KEY
        ))
    };
    let said = metadata.get(checkpoint::KEY).ok_or_else(silent)?;
    let invalid = |error: serde_json::Error| {
        unreadable(format!("its metadata under the key `{}` are invalid: {error}", checkpoint::KEY))
    };
    let said: Value = serde_json::from_str(said).map_err(invalid)?;
    if said["kind"] == "learn_merge_weights" {
        return Err(Error::Usage(format!("{} {MERGE_WEIGHTS}", path.display())));
    }
    let info = said.get("info").cloned().ok_or_else(silent)?;
    let lineage = provenance::provenance(path)?.map(|says| Lineage::of_checkpoint(&says, store));
    Ok((serde_json::from_value(info).map_err(invalid)?, lineage.transpose()?))
}

/// The tensors of a file as those of a model.
fn import(path: &Path, info: ModelInfo) -> Result<Checkpoint, Error> {
    let spec = ImportSpec {
        path: path.to_owned(),
        backbone: info.backbone.clone(),
        key: None,
        prefix: None,
        head: info.head.as_ref().map_or(ImportHead::Drop, |head| ImportHead::Keep(head.classes.clone())),
        sha256: None,
        normalize: info.normalize,
        size: info.preprocessing.size,
        pixels: info.preprocessing.pixels.clone(),
        allow_non_finite: false,
    };
    let unreadable = |message: String| Error::Read { path: path.to_owned(), message };
    let mut problems = Problems::default();
    spec.validate(&mut problems);
    if let Some(Problem { path, message, .. }) = problems.into_list().first() {
        let key = checkpoint::KEY;
        return Err(unreadable(format!(
            "its metadata under the key `{key}` are invalid: `{path}`: {message}"
        )));
    }
    let model = spec.load(&Device::Cpu).map_err(unreadable)?;
    Ok(Checkpoint { info, ..model })
}
