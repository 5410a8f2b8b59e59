//! `import`: load a checkpoint file.

use std::path::PathBuf;

use candle_core::{DType, Device};
use sha2::{Digest, Sha256};

use super::*;
use model::head::remove_head;
use nn::init::Init;
use nn::{Normalize, StateDict};

/// Loads a safetensors or `.pth` file with the tensor names of torchvision or timm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportSpec {
    /// Path of the file, relative to the experiment file.
    pub path: PathBuf,
    /// Architecture of the model.
    pub backbone: BackboneSpec,
    /// Key of the dictionary that holds the tensors in the file (`state_dict`, `model`); top level if absent.
    #[serde(default)]
    pub key: Option<String>,
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
}

impl Identity for ImportSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path", "sha256"]
    }
}

impl Kind for ImportSpec {
    fn validate(&self, problems: &mut Problems) {
        let backbone = &self.backbone;
        problems.under(&format!("backbone.{}", backbone.kind()), |problems| backbone.validate(problems));
        problems.under("normalize", |problems| self.normalize.validate(problems));
        let is_digest =
            |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
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

    fn describe(&self, _: &Known<'_>) -> Result<Description, Vec<String>> {
        Ok(Description::Model(self.info()))
    }

    /// The file's bytes and its tensors are in memory at the same time.
    fn work(&self, _: &Known<'_>, networks: &mut Networks) -> Work {
        let bytes = networks.bytes(&self.info());
        Work { operations: 0, bytes_read: bytes, memory_bytes: bytes.saturating_mul(2), disk_bytes: bytes }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let fail = |message: String| StageError::Failed(format!("{}: {message}", self.path.display()));
        let bytes = std::fs::read(&self.path).map_err(|error| fail(format!("failed to read: {error}")))?;
        self.check_digest(&bytes).map_err(fail)?;
        let mut tensors = self.read(&bytes).map_err(fail)?;
        if self.head == ImportHead::Drop {
            remove_head(&mut tensors, &self.backbone);
        }
        let tensors = self.fit_to_backbone(tensors, &context.device).map_err(fail)?;
        Ok(Artifact::Model(Checkpoint { info: self.info(), tensors, history: Vec::new() }))
    }
}

impl ImportSpec {
    fn info(&self) -> ModelInfo {
        let head = match &self.head {
            ImportHead::Drop => None,
            ImportHead::Keep(classes) => Some(Head { dataset: None, classes: classes.clone() }),
        };
        ModelInfo { backbone: self.backbone.clone(), normalize: self.normalize, head }
    }

    fn check_digest(&self, bytes: &[u8]) -> Result<(), String> {
        let Some(expected) = &self.sha256 else { return Ok(()) };
        let actual: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if expected.is_empty() || !actual.starts_with(&expected.to_lowercase()) {
            return Err(format!(
                "its SHA-256 is {actual}, expected {expected}; the file is damaged or a different one"
            ));
        }
        Ok(())
    }

    /// The file's tensors; the format is detected from its first bytes.
    fn read(&self, bytes: &[u8]) -> Result<StateDict, String> {
        let is_safetensors = bytes.get(8) == Some(&b'{');
        if bytes.starts_with(b"PK") {
            let tensors = candle_core::pickle::read_all_with_key(&self.path, self.key.as_deref());
            Ok(tensors.map_err(|error| self.unreadable(error))?.into_iter().collect())
        } else if is_safetensors {
            let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu);
            Ok(tensors.map_err(|error| self.unreadable(error))?.into_iter().collect())
        } else if bytes.first() == Some(&0x80) {
            Err(format!(
                "a .pth file in PyTorch's format before 1.6, which is not a zip archive; convert it once with\n  \
                 python -c 'import torch; torch.save(torch.load(\"{0}\", map_location=\"cpu\", \
                 weights_only=True), \"{0}.zip.pth\")'",
                self.path.display()
            ))
        } else {
            Err("neither a safetensors nor a .pth file".into())
        }
    }

    fn unreadable(&self, error: candle_core::Error) -> String {
        let hint = match &self.key {
            Some(key) => format!("; check that it has a dictionary under the key `{key}`"),
            None => "; if the tensors are in a nested dictionary, set `key`".into(),
        };
        format!("failed to read its tensors: {error}{hint}")
    }

    /// Exactly the backbone's tensors, in f32; batch counts that are missing in old files are added.
    fn fit_to_backbone(&self, mut tensors: StateDict, device: &Device) -> Result<StateDict, String> {
        let classes = self.info().head.map(|head| head.classes.len());
        let wanted = self.backbone.build().all_parameters(classes);
        let mut fitted = StateDict::new();
        let mut problems = Vec::new();
        for parameter in wanted {
            let found = tensors.remove(&parameter.name);
            match found {
                None if parameter.init == Init::Counter => {
                    let zero = parameter.initial(0, device).map_err(|error| error.to_string())?;
                    fitted.insert(parameter.name, zero);
                }
                None => problems.push(format!("`{}` is missing", parameter.name)),
                Some(tensor) if tensor.dims() != parameter.shape => {
                    let (name, wanted) = (&parameter.name, &parameter.shape);
                    problems.push(format!("`{name}` has shape {:?}, expected {wanted:?}", tensor.dims()));
                }
                Some(tensor) => {
                    let dtype = if parameter.init == Init::Counter { DType::I64 } else { DType::F32 };
                    let tensor = tensor.to_dtype(dtype).and_then(|tensor| tensor.to_device(device));
                    fitted.insert(parameter.name, tensor.map_err(|error| error.to_string())?);
                }
            }
        }
        problems.extend(tensors.keys().map(|name| format!("`{name}` is not part of the backbone")));
        if problems.is_empty() { Ok(fitted) } else { Err(self.misfit(&problems)) }
    }

    fn misfit(&self, problems: &[String]) -> String {
        const SHOWN: usize = 5;
        let more = match problems.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let shown = problems[..problems.len().min(SHOWN)].join(", ");
        format!(
            "its tensors do not match {}: {shown}{more}; check `backbone`, `key` and `head`",
            self.backbone
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use backbone::resnet::{ResnetSpec, Stem};
    use nn::init::initial_values;

    const CLASSES: usize = 3;

    fn backbone() -> BackboneSpec {
        BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 8 })
    }

    fn tensors() -> StateDict {
        initial_values(&backbone().build().all_parameters(Some(CLASSES)), 0, &Device::Cpu).unwrap()
    }

    fn spec(path: &Path) -> ImportSpec {
        ImportSpec {
            path: path.into(),
            backbone: backbone(),
            key: None,
            head: ImportHead::Drop,
            sha256: None,
            normalize: Normalize::default(),
        }
    }

    /// Import a file of these tensors.
    fn import(tensors: &StateDict, change: impl FnOnce(&mut ImportSpec)) -> Result<Checkpoint, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let all: std::collections::HashMap<String, candle_core::Tensor> =
            tensors.clone().into_iter().collect();
        candle_core::safetensors::save(&all, &path).unwrap();
        let mut spec = spec(&path);
        change(&mut spec);
        import_file(&spec)
    }

    fn import_file(spec: &ImportSpec) -> Result<Checkpoint, String> {
        let context = Context {
            inputs: Vec::new(),
            datasets: Vec::new(),
            dataset_fingerprints: Vec::new(),
            input_fingerprints: Vec::new(),
            device: Device::Cpu,
            report: &|_| Ok(()),
            resume: &train::resume::Forgetful,
        };
        match spec.run(&context) {
            Ok(Artifact::Model(checkpoint)) => Ok(checkpoint),
            Ok(_) => Err("not a model".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_head_is_dropped_or_kept() {
        let dropped = import(&tensors(), |_| {}).unwrap();
        assert!(dropped.info.head.is_none() && !dropped.tensors.contains_key("fc.weight"));
        let classes: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let kept = import(&tensors(), |spec| spec.head = ImportHead::Keep(classes.clone())).unwrap();
        assert_eq!(kept.info.head.unwrap().classes, classes);
        assert_eq!(kept.tensors["fc.weight"].dims(), [CLASSES, 64]);
    }

    #[test]
    fn a_head_of_another_number_of_classes_is_refused() {
        let two: Vec<String> = ["a", "b"].map(String::from).into();
        let error = import(&tensors(), |spec| spec.head = ImportHead::Keep(two)).unwrap_err();
        assert!(error.contains("`fc.weight` has shape [3, 64], expected [2, 64]"), "{error}");
    }

    #[test]
    fn half_precision_becomes_f32_and_missing_counts_are_added() {
        let mut half: StateDict = tensors();
        half.retain(|name, _| !name.ends_with("num_batches_tracked"));
        half.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(DType::F16).unwrap());
        let model = import(&half, |_| {}).unwrap();
        assert_eq!(model.tensors["conv1.weight"].dtype(), DType::F32);
        assert_eq!(model.tensors["bn1.num_batches_tracked"].to_scalar::<i64>().unwrap(), 0);
    }

    #[test]
    fn tensors_of_another_network_are_listed() {
        let mut other = tensors();
        let moved = other.remove("layer4.1.bn2.bias").unwrap();
        other.insert("layer4.1.bn3.bias".into(), moved);
        let error = import(&other, |_| {}).unwrap_err();
        for words in
            ["`layer4.1.bn2.bias` is missing", "`layer4.1.bn3.bias` is not part", "small stem, width 8"]
        {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn another_file_than_expected_is_refused() {
        let error = import(&tensors(), |spec| spec.sha256 = Some("0123abcd".into())).unwrap_err();
        assert!(error.contains("expected 0123abcd"), "{error}");
    }

    #[test]
    fn the_error_for_an_old_pth_file_says_how_to_convert_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.pth");
        std::fs::write(&path, [0x80, 2, b'}', b'q']).unwrap();
        let error = import_file(&spec(&path)).unwrap_err();
        assert!(error.contains("python -c") && error.contains("old.pth.zip.pth"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_a_checkpoint_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for (content, words) in
            [("PKnonsense", "failed to read its tensors"), ("hello", "neither a safetensors")]
        {
            let path = folder.path().join("model.pth");
            std::fs::write(&path, content).unwrap();
            let error = import_file(&spec(&path)).unwrap_err();
            assert!(error.contains(words) && error.contains("model.pth"), "{error}");
        }
        let error = import_file(&spec(&folder.path().join("absent.pth"))).unwrap_err();
        assert!(error.contains("failed to read"), "{error}");
    }
}
