//! `import`: load a checkpoint file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use candle_core::{DType, Device};
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};

use super::*;
use model::head::remove_head;
use nn::init::{Init, Parameter};
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

    fn examine_files(&self) -> Result<(), DataError> {
        let shapes = self.shapes().and_then(|mut shapes| {
            if self.head == ImportHead::Drop {
                remove_head(&mut shapes, &self.backbone);
            }
            self.check_shapes(&shapes)
        });
        shapes.map_err(|message| DataError::new(&self.path, message))
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

    /// The file's tensors.
    fn read(&self, bytes: &[u8]) -> Result<StateDict, String> {
        match self.format(bytes)? {
            Format::Zip => {
                let tensors = candle_core::pickle::read_all_with_key(&self.path, self.key.as_deref());
                Ok(tensors.map_err(|error| self.unreadable(error))?.into_iter().collect())
            }
            Format::Safetensors => {
                let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu);
                Ok(tensors.map_err(|error| self.unreadable(error))?.into_iter().collect())
            }
        }
    }

    /// The shapes of the file's tensors, from its header alone.
    fn shapes(&self) -> Result<Shapes, String> {
        let unread = |error: std::io::Error| format!("failed to read: {error}");
        let mut file = File::open(&self.path).map_err(unread)?;
        let mut first = Vec::new();
        file.by_ref().take(FIRST_BYTES).read_to_end(&mut first).map_err(unread)?;
        match self.format(&first)? {
            Format::Zip => {
                let key = self.key.as_deref();
                let infos = candle_core::pickle::read_pth_tensor_info(&self.path, false, key);
                let infos = infos.map_err(|error| self.unreadable(error))?;
                Ok(infos.into_iter().map(|info| (info.name, info.layout.dims().to_vec())).collect())
            }
            Format::Safetensors => {
                let bytes = file.metadata().map_err(unread)?.len();
                safetensors_shapes(&first, file, bytes).map_err(|error| self.unreadable(error))
            }
        }
    }

    /// The format, from the first [`FIRST_BYTES`] or more.
    fn format(&self, first: &[u8]) -> Result<Format, String> {
        if first.starts_with(b"PK") {
            Ok(Format::Zip)
        } else if first.get(8) == Some(&b'{') {
            Ok(Format::Safetensors)
        } else if first.first() == Some(&0x80) {
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

    fn unreadable(&self, error: impl std::fmt::Display) -> String {
        let hint = match &self.key {
            Some(key) => format!("; check that it has a dictionary under the key `{key}`"),
            None => "; if the tensors are in a nested dictionary, set `key`".into(),
        };
        format!("failed to read its tensors: {error}{hint}")
    }

    /// Exactly the backbone's tensors, in f32; batch counts that are missing in old files are added.
    fn fit_to_backbone(&self, mut tensors: StateDict, device: &Device) -> Result<StateDict, String> {
        let shape = |(name, tensor): (&String, &candle_core::Tensor)| (name.clone(), tensor.dims().to_vec());
        self.check_shapes(&tensors.iter().map(shape).collect())?;
        let mut fit = |parameter: Parameter| {
            let tensor = match tensors.remove(&parameter.name) {
                None => parameter.initial(0, device)?,
                Some(tensor) if parameter.init == Init::Counter => tensor.to_dtype(DType::I64)?,
                Some(tensor) => tensor.to_dtype(DType::F32)?,
            };
            Ok((parameter.name, tensor.to_device(device)?))
        };
        let fitted: candle_core::Result<_> = self.parameters().into_iter().map(&mut fit).collect();
        fitted.map_err(|error| error.to_string())
    }

    /// Check that these are the backbone's tensors, apart from batch counts.
    fn check_shapes(&self, shapes: &Shapes) -> Result<(), String> {
        let (mut problems, mut wanted) = (Vec::new(), BTreeSet::new());
        for Parameter { name, shape, init, .. } in self.parameters() {
            match shapes.get(&name) {
                None if init == Init::Counter => {}
                None => problems.push(format!("`{name}` is missing")),
                Some(found) if *found != shape => {
                    problems.push(format!("`{name}` has shape {found:?}, expected {shape:?}"));
                }
                Some(_) => {}
            }
            wanted.insert(name);
        }
        let unknown = shapes.keys().filter(|name| !wanted.contains(*name));
        problems.extend(unknown.map(|name| format!("`{name}` is not part of the backbone")));
        if problems.is_empty() { Ok(()) } else { Err(self.misfit(&problems)) }
    }

    /// The parameters of the imported model.
    fn parameters(&self) -> Vec<Parameter> {
        let classes = self.info().head.map(|head| head.classes.len());
        self.backbone.build().all_parameters(classes)
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

/// The number of bytes that tell a format.
const FIRST_BYTES: u64 = 9;

/// The format of a checkpoint file.
enum Format {
    /// A `.pth` file of PyTorch 1.6 or later.
    Zip,
    Safetensors,
}

/// Shapes of tensors, by name.
type Shapes = BTreeMap<String, Vec<usize>>;

/// The shapes in a safetensors file of this many bytes, whose first [`FIRST_BYTES`] were read: the length of the header
/// in 8 bytes, and the header's first one.
fn safetensors_shapes(first: &[u8], file: impl Read, bytes: u64) -> Result<Shapes, String> {
    let mut length = [0; 8];
    length.copy_from_slice(&first[..8]);
    let length = u64::from_le_bytes(length);
    let truncated = || "the file is truncated".to_owned();
    let left = bytes.checked_sub(8).and_then(|left| left.checked_sub(length)).ok_or_else(truncated)?;
    let mut header = first[8..].to_vec();
    file.take(length.saturating_sub(1)).read_to_end(&mut header).map_err(|error| error.to_string())?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    if header.data_len() as u64 != left {
        return Err(truncated());
    }
    Ok(header.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect())
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
    fn f01_the_header_of_a_file_is_examined_as_its_tensors_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let save = |tensors: &StateDict| {
            let all: std::collections::HashMap<_, _> = tensors.clone().into_iter().collect();
            candle_core::safetensors::save(&all, &path).unwrap();
        };
        let examined = |spec: &ImportSpec| {
            let (header, whole) = (spec.examine_files(), import_file(spec).map(drop));
            assert_eq!(
                header.as_ref().map_err(ToString::to_string),
                whole.as_ref().map(|()| &()).map_err(String::clone)
            );
            header.map_err(|error| error.to_string())
        };
        save(&tensors());
        assert_eq!(examined(&spec(&path)), Ok(()));
        let two = ImportHead::Keep(["a", "b"].map(String::from).into());
        let error = examined(&ImportSpec { head: two, ..spec(&path) }).unwrap_err();
        assert!(error.contains("`fc.weight` has shape [3, 64], expected [2, 64]"), "{error}");
        let mut other = tensors();
        other.remove("layer4.1.bn2.bias");
        save(&other);
        assert!(examined(&spec(&path)).unwrap_err().contains("`layer4.1.bn2.bias` is missing"));
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 4, 9, 100, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(spec(&path).examine_files().is_err(), "{length} bytes");
            assert!(import_file(&spec(&path)).is_err(), "{length} bytes");
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
