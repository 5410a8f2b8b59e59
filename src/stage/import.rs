//! `import`: a checkpoint made elsewhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use candle_core::{DType, Device};
use sha2::{Digest, Sha256};

use super::artifact::StateDict;
use super::model::remove_head;
use super::*;
use crate::nn::init::Init;

/// A safetensors or `.pth` file with torchvision's / timm's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportSpec {
    /// The file; relative to the experiment file.
    #[serde(skip_serializing)]
    pub path: PathBuf,
    /// Its architecture.
    pub backbone: BackboneSpec,
    /// Name under which the file nests its tensors (`state_dict`, `model`); none if absent.
    #[serde(default)]
    pub key: Option<String>,
    /// What becomes of its classifier.
    #[serde(default)]
    pub head: ImportHead,
    /// Expected SHA-256 of the file, in hexadecimal, whole or its first characters. Not in the fingerprint: the
    /// file's content is.
    #[serde(default, skip_serializing)]
    pub sha256: Option<String>,
    /// How the model's input pixels are scaled.
    #[serde(default)]
    pub normalize: Normalize,
}

/// What becomes of an imported classifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportHead {
    /// Forget it: a stage that trains makes a new one.
    #[default]
    Drop,
    /// Keep it, for these classes in the order of its logits.
    Keep(Vec<String>),
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
            ImportHead::Keep(classes) => Some(Head { dataset: String::new(), classes: classes.clone() }),
        };
        ModelInfo { backbone: self.backbone.clone(), normalize: self.normalize, head }
    }

    fn check_digest(&self, bytes: &[u8]) -> Result<(), String> {
        let Some(expected) = &self.sha256 else { return Ok(()) };
        let actual: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if expected.is_empty() || !actual.starts_with(&expected.to_lowercase()) {
            return Err(format!("its SHA-256 is {actual}, expected {expected}; another or a damaged file"));
        }
        Ok(())
    }

    /// The file's tensors, whatever its format, judged by its first bytes.
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
                "a .pth file of PyTorch's old format (before 1.6), which is not a zip archive; convert it once with\n  \
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
            Some(key) => format!("; is there a dictionary under the key `{key}`?"),
            None => "; if the file nests its tensors, name the dictionary with `key`".into(),
        };
        format!("failed to read its tensors: {error}{hint}")
    }

    /// Exactly the backbone's tensors, in f32; old files without batch counts get them.
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
                    problems.push(format!("`{name}` is {:?}, expected {wanted:?}", tensor.dims()));
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
            "its tensors are not those of {}: {shown}{more}; check `backbone`, `key` and `head`",
            self.backbone
        )
    }
}
