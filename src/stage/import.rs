//! `import`: a checkpoint made elsewhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::*;

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
    /// Expected SHA-256 of the file, in hexadecimal, whole or its first characters.
    #[serde(default)]
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

    fn describe(&self, _known: &Known<'_>) -> Result<Description, Vec<String>> {
        unimplemented!()
    }

    fn run(&self, _context: &Context<'_>) -> Result<Artifact, StageError> {
        unimplemented!()
    }
}
