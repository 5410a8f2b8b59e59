//! `import`: load a checkpoint file.
//!
//! | file | what |
//! |---|---|
//! | this one | the stage: from a file's tensors to a model |
//! | `file` | the tensors in a file |
//! | `names` | prefixes of names |
//! | `pth`, `pickle` | files of PyTorch |
//! | `view` | copying a tensor from a file's bytes |

mod file;
mod names;
mod pickle;
mod pth;
#[cfg(test)]
mod testing;
mod view;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use dataset::{Labeling, PixelSpec};
use identity::options::without;
use kind::text::{python, shell};

use super::*;
use file::{Tensors, Unreadable};
use model::head::remove_head;
use names::{is_usual, likely_prefixes, list, without_prefix};
use nn::finite::{first_non_finite, is_negative_variance};
use nn::init::{Init, Parameter};
use nn::{Normalize, StateDict};
use view::View;

/// The maximum number of problems in a message.
const SHOWN: usize = 5;

/// Loads a safetensors or `.pth` file with the tensor names of torchvision or timm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportSpec {
    /// Path of the file, relative to the experiment file.
    pub path: PathBuf,
    /// Architecture of the model.
    pub backbone: BackboneSpec,
    /// Key of the dictionary that holds the tensors in a `.pth` file. If absent: the top level, or else `state_dict`,
    /// `model` or `model_state_dict`.
    #[serde(default)]
    pub key: Option<String>,
    /// Prefix of the tensors' names in the file, which is removed; tensors without it are left out. If absent: none, or
    /// else one made of `module.`, `model.`, `encoder.` and `backbone.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Whether to keep the classifier.
    #[serde(default)]
    pub head: ImportHead,
    /// Expected SHA-256 of the file in hexadecimal, complete or a prefix. Not part of the fingerprint, which includes
    /// the file's content.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Normalization of the model's input pixels.
    #[serde(default)]
    pub normalize: Normalize,
    /// Side in pixels of the images that the model was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// How image files became pixels when the model was trained. If present, data sets must have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelSpec>,
    /// Whether elements may be NaN or infinite, and variances of batch norm negative.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_non_finite: bool,
}

/// The classifier of an imported model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportHead {
    /// Dropped; a stage that trains creates a new one.
    #[default]
    Drop,
    /// Kept, with these class names in the order of its logits.
    Keep(Vec<String>),
    /// Kept, as that of a multi-label data set, with these class names in the order of its logits.
    KeepMultiLabel(Vec<String>),
}

impl Identity for ImportSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path", "sha256"]
    }

    fn options(&self) -> serde_json::Value {
        let options = without(self.to_json(), self.left_out());
        match &self.pixels {
            Some(pixels) => replaced(options, "pixels", pixels.without_limit().to_json()),
            None => options,
        }
    }
}

impl Kind for ImportSpec {
    fn validate(&self, problems: &mut Problems) {
        let backbone = &self.backbone;
        problems.under(&format!("backbone.{}", backbone.kind()), |problems| backbone.validate(problems));
        problems.under("normalize", |problems| self.normalize.validate(problems));
        self.size.iter().for_each(|&size| problems.at_least("size", size, 1));
        self.pixels.iter().for_each(|pixels| problems.under("pixels", |problems| pixels.validate(problems)));
        let is_digest =
            |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
        if let ImportHead::Keep(classes) | ImportHead::KeepMultiLabel(classes) = &self.head {
            let key =
                if matches!(self.head, ImportHead::Keep(_)) { "head.keep" } else { "head.keep_multi_label" };
            problems.no_duplicates(key, "class", classes);
            for (i, _) in classes.iter().enumerate().filter(|(_, class)| class.trim().is_empty()) {
                problems.add(&format!("{key}.{i}"), "a class name is empty", None);
            }
        }
        for digest in self.sha256.iter().filter(|digest| !is_digest(digest)) {
            problems.check("sha256", format_args!("\"{digest}\""), false, "1 to 64 hexadecimal digits");
        }
    }

    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        vec![NamedPath::file("path", &mut self.path)]
    }
}

impl Stage for ImportSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }

    fn datasets(&self) -> Vec<DataInput> {
        Vec::new()
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn examine_files(&self) -> Result<(), DataError> {
        let examined = file::map(&self.path).and_then(|bytes| self.check_shapes(&self.tensors(&bytes)?));
        examined.map_err(|message| DataError::new(&self.path, message))
    }

    fn expected_sha256(&self) -> Option<(&Path, &str)> {
        Some((&self.path, self.sha256.as_deref()?))
    }

    fn describe(&self, _: &Known<'_>) -> Result<Description, Vec<String>> {
        Ok(Description::Model(self.info()))
    }

    /// The file's bytes and its tensors are in memory at the same time.
    fn work(&self, _: &Known<'_>, networks: &mut Networks) -> Work {
        let bytes = networks.bytes(&self.info());
        Work { operations: 0, bytes_read: bytes, memory_bytes: bytes.saturating_mul(2), disk_bytes: bytes }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let failed = |message| StageError::Failed(format!("{}: {message}", self.path.display()));
        self.load(&context.device).map(Artifact::Model).map_err(failed)
    }
}

impl ImportSpec {
    /// The model in the file, on a device.
    ///
    /// # Errors
    /// The file cannot be read, or its tensors are not those of the backbone; the message does not name the file.
    pub fn load(&self, device: &Device) -> Result<Checkpoint, String> {
        let bytes = file::map(&self.path)?;
        let tensors = self.fit_to_backbone(self.tensors(&bytes)?, device)?;
        if !self.allow_non_finite {
            check_values(&tensors)?;
        }
        Ok(Checkpoint { info: self.info(), tensors, history: Vec::new() })
    }

    fn info(&self) -> ModelInfo {
        let (classes, labeling) = match &self.head {
            ImportHead::Drop => (None, Labeling::SingleLabel),
            ImportHead::Keep(classes) => (Some(classes), Labeling::SingleLabel),
            ImportHead::KeepMultiLabel(classes) => (Some(classes), Labeling::MultiLabel),
        };
        let head = classes.map(|classes| Head { dataset: None, classes: classes.clone(), labeling });
        let pixels = self.pixels.as_ref().map(PixelSpec::without_limit);
        let preprocessing = Preprocessing { size: self.size, pixels };
        ModelInfo { backbone: self.backbone.clone(), normalize: self.normalize, head, preprocessing }
    }

    /// The file's tensors under the names of the network, without a head that is dropped. Tells what was taken without
    /// being asked for.
    fn tensors<'a>(&self, bytes: &'a [u8]) -> Result<Tensors<'a>, String> {
        let (tensors, key) =
            file::tensors(bytes, self.key.as_deref()).map_err(|problem| self.unreadable(problem))?;
        let prefix = match &self.prefix {
            Some(prefix) => prefix.clone(),
            None => self.usual_prefix(&tensors),
        };
        let (mut stripped, others) = without_prefix(tensors, &prefix);
        if stripped.is_empty() && self.prefix.is_some() {
            let others = list(others.iter().map(String::as_str));
            return Err(format!("no tensor has a name that starts with `{prefix}`; there are {others}"));
        }
        self.tell(key, &prefix, &others);
        if self.head == ImportHead::Drop {
            remove_head(&mut stripped, &self.backbone);
        }
        Ok(stripped)
    }

    /// The only likely prefix, if it is a usual one.
    fn usual_prefix(&self, tensors: &Tensors<'_>) -> String {
        match likely_prefixes(tensors, &self.wanted())[..] {
            [prefix] if is_usual(prefix) => prefix.to_owned(),
            _ => String::new(),
        }
    }

    /// Names of the network's tensors without its head.
    fn wanted(&self) -> Vec<String> {
        self.backbone.build().parameters().into_iter().map(|parameter| parameter.name).collect()
    }

    fn tell(&self, key: Option<&str>, prefix: &str, others: &[String]) {
        let mut told = Vec::new();
        told.extend(key.map(|key| format!("took the tensors under the key `{key}`")));
        if self.prefix.is_none() && !prefix.is_empty() {
            told.push(format!("removed the prefix `{prefix}` from their names"));
        }
        if !others.is_empty() {
            let others = list(others.iter().map(String::as_str));
            told.push(format!("left out the tensors without the prefix `{prefix}`: {others}"));
        }
        if !told.is_empty() {
            tracing::warn!("{}: {}", self.path.display(), told.join("; "));
        }
    }

    fn unreadable(&self, problem: Unreadable) -> String {
        let path = self.path.display().to_string();
        // `state_dict` leads from what is loaded to what is saved.
        let convert = |options: &str, state_dict: &str, extension: &str| {
            let (from, to) = (python(&path), python(&format!("{path}.{extension}")));
            let code = format!(
                "import torch; torch.save(torch.load({from}, map_location=\"cpu\", {options}){state_dict}, {to})"
            );
            format!("python -c {}", shell(&code))
        };
        match problem {
            Unreadable::Object { class, key } => {
                let key = key.map_or_else(String::new, |key| format!("[{}]", python(&key)));
                let convert = convert("weights_only=False", &format!("{key}.state_dict()"), "state_dict.pth");
                format!(
                    "it holds a pickled object of the class `{class}` and not a state dict, so reading it would run \
                     code; if you trust the file, convert it once, and set `path` to the new file:\n  {convert}"
                )
            }
            Unreadable::Old => {
                let convert = convert("weights_only=True", "", "zip.pth");
                format!(
                    "a .pth file in PyTorch's format before 1.6, which is not a zip archive; convert it once, and set \
                     `path` to the new file:\n  {convert}"
                )
            }
            Unreadable::Other(problem) => format!("failed to read its tensors: {problem}"),
        }
    }

    /// Exactly the backbone's tensors, in f32; batch counts that are missing in old files are added.
    fn fit_to_backbone(&self, mut tensors: Tensors<'_>, device: &Device) -> Result<StateDict, String> {
        self.check_shapes(&tensors)?;
        let mut fit = |parameter: Parameter| {
            let tensor = match tensors.remove(&parameter.name) {
                Some(view) => read(&parameter, &view, device)?,
                None => parameter.initial(0, device).map_err(|error| error.to_string())?,
            };
            Ok((parameter.name, tensor))
        };
        self.parameters().into_iter().map(&mut fit).collect()
    }

    /// Check that these are the backbone's tensors, apart from batch counts.
    fn check_shapes(&self, tensors: &Tensors<'_>) -> Result<(), String> {
        let mut left: BTreeMap<String, &View<'_>> =
            tensors.iter().map(|(name, view)| (name.clone(), view)).collect();
        let mut problems = Vec::new();
        for Parameter { name, shape, init, .. } in self.parameters() {
            match left.remove(&name) {
                None if init == Init::Counter => {}
                None => problems.push(format!("`{name}` is missing")),
                Some(view) if view.shape != shape => {
                    problems.push(format!("`{name}` has shape {:?}, expected {shape:?}", view.shape));
                }
                Some(_) => {}
            }
        }
        if problems.is_empty() && left.is_empty() { Ok(()) } else { Err(self.misfit(&problems, &left)) }
    }

    /// The parameters of the imported model.
    fn parameters(&self) -> Vec<Parameter> {
        let classes = self.info().head.map(|head| head.classes.len());
        self.backbone.build().all_parameters(classes)
    }

    /// A message for problems with the network's tensors, and for those that are left.
    fn misfit<T>(&self, problems: &[String], left: &BTreeMap<String, T>) -> String {
        let mut shown: Vec<String> = problems.iter().take(SHOWN).cloned().collect();
        if problems.len() > SHOWN {
            shown.push(format!("and {} more", problems.len() - SHOWN));
        }
        if !left.is_empty() {
            shown.push(format!("not part of the backbone: {}", list(left.keys().map(String::as_str))));
        }
        let advice = match &likely_prefixes(left, &self.wanted())[..] {
            [] => "check `backbone`, `key`, `prefix` and `head`".into(),
            [prefix] => format!("set `prefix = \"{prefix}\"`"),
            several => format!("set `prefix` to one of {}", list(several.iter().copied())),
        };
        format!("its tensors do not match {}: {}; {advice}", self.backbone, shown.join(", "))
    }
}

/// A tensor of a file as the network's, on a device.
fn read(parameter: &Parameter, view: &View<'_>, device: &Device) -> Result<Tensor, String> {
    let dtype = if parameter.init == Init::Counter { DType::I64 } else { DType::F32 };
    let tensor = view.read().map_err(|problem| format!("`{}` {problem}", parameter.name))?;
    let tensor = tensor.to_dtype(dtype).and_then(|tensor| tensor.to_device(device));
    tensor.map_err(|error| format!("`{}`: {error}", parameter.name))
}

/// Checks that a network can compute with the tensors.
fn check_values(tensors: &StateDict) -> Result<(), String> {
    let unreadable = |error: candle_core::Error| error.to_string();
    if let Some(name) = first_non_finite(tensors).map_err(unreadable)? {
        return Err(unusable(name, "has NaN or infinite elements"));
    }
    for (name, tensor) in tensors {
        if is_negative_variance(name, tensor).map_err(unreadable)? {
            return Err(unusable(name, "has negative variances"));
        }
    }
    Ok(())
}

fn unusable(name: &str, problem: &str) -> String {
    format!("`{name}` {problem}; use another checkpoint, or set `allow_non_finite = true`")
}

#[cfg(test)]
mod tests;
