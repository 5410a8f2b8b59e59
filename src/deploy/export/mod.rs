//! A model as a folder for other programs.
//!
//! | file | what |
//! |---|---|
//! | [`timm`] | `config.json`, for `timm.create_model("local-dir:FOLDER", pretrained=True)` and model hubs |
//! | [`pytorch`] | `model.py`, which makes the network and loads it with PyTorch |
//! | [`card`] | `README.md`: what the model is, its origin and scores |
//! | [`scores`] | scores of a model in a store |
//! | [`folder`] | a folder that is written whole or not at all |
//!
//! The tensors are in `model.safetensors`, with the metadata of the original.

pub mod card;
pub mod folder;
pub mod pytorch;
pub mod scores;
pub mod timm;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::source::{Input, MODEL, Source};
use crate::error::Error;
use crate::merge_files::FileError;
use crate::model::Preprocessing;
use crate::store::checkpoint;
use scores::Scored;

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// timm.create_model("local-dir:FOLDER", pretrained=True), and model hubs
    Timm,
    /// A Python module that makes the network and loads it with PyTorch
    Pytorch,
}

/// A model to export.
#[derive(Debug)]
pub struct Export {
    /// The model and its origin.
    pub source: Source,
    /// How images become its input.
    pub input: Input,
    /// What the folder is for.
    pub format: Format,
    /// Scores for the model card.
    pub scores: Vec<Scored>,
}

impl Export {
    /// Write the folder, which must not exist or be empty.
    ///
    /// # Errors
    /// The library lacks the network, the folder cannot be written, or `interrupt` was raised.
    pub fn write(&self, path: &Path, interrupt: &AtomicBool) -> Result<(), Error> {
        let (name, loader) = match self.format {
            Format::Timm => ("config.json", timm::config(&self.source.model.info, &self.input)?),
            Format::Pytorch => ("model.py", pytorch::module(&self.source.model.info, &self.input)),
        };
        let card = card::card(self);
        folder::whole(path, interrupt, |folder| {
            checkpoint::save(&self.source.model.tensors, self.metadata(), &folder.join(MODEL))?;
            for (name, content) in [(name, &loader), ("README.md", &card)] {
                let path = folder.join(name);
                let problem = |error: std::io::Error| FileError::Write {
                    path: path.clone(),
                    problem: error.to_string(),
                };
                fs::write(&path, content).map_err(problem)?;
            }
            Ok(())
        })
    }

    /// Metadata of the original, with the side of the images if it does not say it or another one was asked for. Under
    /// one key, so that the bytes of the file depend on nothing else.
    fn metadata(&self) -> HashMap<String, String> {
        let info = &self.source.model.info;
        let original = self.source.metadata.get(checkpoint::KEY).cloned();
        let mut said = original.unwrap_or_else(|| json!({ "info": info }).to_string());
        if info.preprocessing.size != Some(self.input.size) {
            let mut parsed: Value = serde_json::from_str(&said).unwrap_or_default();
            let pixels = info.preprocessing.pixels.clone();
            parsed["info"]["preprocessing"] = json!(Preprocessing { size: Some(self.input.size), pixels });
            said = parsed.to_string();
        }
        HashMap::from([(checkpoint::KEY.to_owned(), said)])
    }

    /// What the preprocessing of the folder leaves out; to be done before.
    pub fn caveats(&self) -> Vec<String> {
        self.input.caveats(self.format == Format::Timm)
    }
}
