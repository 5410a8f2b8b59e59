//! `medmerge merge`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use candle_core::Tensor;
use clap::Args;
use rayon::prelude::*;
use safetensors::tensor::TensorInfo;
use serde_json::{Value, json};

use super::output::stdout;
use super::{Error, interrupt};
use crate::backbone::BackboneSpec;
use crate::experiment::{merge_method, needs_sources};
use crate::merge_files::{Agreement, FileError, Input, Inputs, Mismatch, Output};
use crate::merge_method::{MergeMethodSpec, MergeTensors, NamedTensors};
use crate::store::checkpoint::KEY;

/// The maximum number of tensors named in a message.
const SHOWN: usize = 5;

/// Merge checkpoint files, without an experiment
///
/// Takes safetensors files from any program, with f32 tensors of the same names and shapes, and writes one. Batch
/// norm's running statistics are averaged, not re-estimated as by the merge of an experiment.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge merge a.safetensors b.safetensors --out m.safetensors
  medmerge merge a.safetensors b.safetensors --method average.weights=[3,1] --out m.safetensors
  medmerge merge a.safetensors b.safetensors --method slerp.t=0.3 --out m.safetensors
  medmerge merge a.safetensors b.safetensors --method git_rebasin --backbone 'resnet18 = {}' --out m.safetensors
  medmerge merge a.safetensors b.safetensors c.safetensors --base start.safetensors \\
      --method 'ties = { density = 0.2, scaling = 1.0 }' --out m.safetensors

Methods: average, uniform_soup, slerp, git_rebasin, glmc;
with --base: wise_ft, task_arithmetic, ties, dare, model_stock, tsv_m, iso_c.
PyTorch writes such a file by safetensors.torch.save_file(model.state_dict(), \"a.safetensors\").")]
pub(super) struct Merge {
    /// Checkpoints to merge, in order
    #[arg(required = true, value_name = "FILE.safetensors")]
    sources: Vec<PathBuf>,
    /// Merge method, as in `method` in an experiment: a word, or TOML with options
    #[arg(long, value_name = "METHOD", default_value = "average")]
    method: String,
    /// The common start that all sources were trained from, for methods that need one
    #[arg(long, value_name = "FILE.safetensors")]
    base: Option<PathBuf>,
    /// Backbone of the models, for git_rebasin and glmc, as in an experiment [default: from the files' metadata]
    #[arg(long, value_name = "BACKBONE")]
    backbone: Option<String>,
    /// Path of the merged checkpoint
    #[arg(long, short, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Skip tensors that a file lacks or has in another shape, such as classifiers of other tasks
    #[arg(long)]
    skip_mismatched: bool,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

impl Merge {
    pub(super) fn execute(&self) -> Result<(), Error> {
        if self.out.exists() && !self.force {
            let out = self.out.display();
            return Err(Error::Usage(format!(
                "{out} already exists; choose another --out, or replace it with --force"
            )));
        }
        let spec = merge_method(&self.method, self.sources.len())?;
        self.check_method(&spec)?;
        let sources = self.sources.iter().map(|path| Input::open(path)).collect::<Result<_, _>>()?;
        let inputs = Inputs { sources, base: self.base.as_deref().map(Input::open).transpose()? };
        let Agreement { common, mismatches } = Agreement::between(&inputs);
        self.check(&common, &mismatches)?;
        let method = self.method(&spec, &inputs, &common)?;

        let first = inputs.sources[0].tensors();
        let tensors: Vec<(String, TensorInfo)> =
            common.iter().map(|name| (name.clone(), first[name].clone())).collect();
        let metadata = HashMap::from([(KEY.to_owned(), provenance(&inputs, &spec, mismatches.is_empty())?)]);
        let interrupt = interrupt::listen()?;
        let output = Output::create(&self.out, tensors, metadata)?;
        inputs.merge(&*method, &common, &output, &interrupt)?;
        output.finish(self.force)?;
        self.tell(&spec, common.len(), &mismatches)
    }

    /// # Errors
    /// The method does not accept this number of files, or requires or excludes a common start.
    fn check_method(&self, spec: &MergeMethodSpec) -> Result<(), Error> {
        let (name, count) = (spec.kind(), self.sources.len());
        if !spec.takes().contains(&count) {
            return Err(Error::Usage(format!(
                "`{name}` needs {}, not {count}",
                needs_sources(&spec.takes())
            )));
        }
        match (spec.common_start(), &self.base) {
            (Some(_), None) => Err(Error::Usage(format!(
                "`{name}` works on the differences of each source from the common start that all were trained from; \
                 for models of different initializations they mean nothing. Give that start with --base FILE, or \
                 merge by `average`"
            ))),
            (None, Some(_)) => {
                Err(Error::Usage(format!("`{name}` does not use a common start; remove --base")))
            }
            _ => Ok(()),
        }
    }

    /// The method, prepared for the common tensors of the files.
    fn method(
        &self,
        spec: &MergeMethodSpec,
        inputs: &Inputs,
        common: &[String],
    ) -> Result<Box<dyn MergeTensors>, Error> {
        if !spec.needs_backbone() && self.backbone.is_some() {
            return Err(Error::Usage(format!("`{}` does not use --backbone; remove it", spec.kind())));
        }
        let backbone = spec.needs_backbone().then(|| self.backbone(spec, inputs)).transpose()?;
        backbone.iter().try_for_each(|backbone| check_backbone(backbone, inputs, common))?;
        let sources: Vec<_> = inputs.sources.iter().map(|input| Common { input, names: common }).collect();
        let sources: Vec<&dyn NamedTensors> = sources.iter().map(|source| source as _).collect();
        let failed =
            |error| Error::Usage(format!("failed to prepare `{}` for the files: {error}", spec.kind()));
        spec.over_files(&sources, backbone.as_ref()).map_err(failed)
    }

    /// The backbone of the models: from the command line, or else from the files.
    fn backbone(&self, spec: &MergeMethodSpec, inputs: &Inputs) -> Result<BackboneSpec, Error> {
        const EXAMPLE: &str = "as in --backbone 'resnet18 = { width = 32 }'";
        if let Some(text) = &self.backbone {
            let toml = if text.contains('=') { text.clone() } else { format!("{} = {{}}", text.trim()) };
            let wrong = |error: toml::de::Error| {
                Error::Usage(format!("--backbone {text}: {}; write {EXAMPLE}", error.message()))
            };
            return toml::from_str(&toml).map_err(wrong);
        }
        let said = inputs.sources.iter().find_map(info).and_then(|info| info.get("backbone").cloned());
        let said = said.and_then(|backbone| serde_json::from_value(backbone).ok());
        said.ok_or_else(|| {
            Error::Usage(format!(
                "`{}` needs the backbone to match channels, but these files have no metadata of their \
                 backbone; set it, {EXAMPLE}",
                spec.kind()
            ))
        })
    }

    fn check(&self, common: &[String], mismatches: &[Mismatch]) -> Result<(), Error> {
        let advice = match (common.is_empty(), self.skip_mismatched) {
            (true, _) => "the files have no tensor in common: merge models with the same architecture",
            (false, false) if !mismatches.is_empty() => {
                "skip them with --skip-mismatched if they are classifiers of different tasks; other layers must \
                 match: merge models with the same architecture"
            }
            _ => return Ok(()),
        };
        let mut text = match mismatches.len() {
            1 => "one tensor differs between the files:\n".to_owned(),
            many => format!("{many} tensors differ between the files:\n"),
        };
        for mismatch in mismatches.iter().take(SHOWN) {
            let _ = writeln!(text, "  {mismatch}");
        }
        if mismatches.len() > SHOWN {
            let _ = writeln!(text, "  and {} more", mismatches.len() - SHOWN);
        }
        Err(Error::Usage(text + advice))
    }

    fn tell(&self, spec: &MergeMethodSpec, merged: usize, left_out: &[Mismatch]) -> Result<(), Error> {
        let (name, sources, out) = (spec.kind(), self.sources.len(), self.out.display());
        let mut stdout = stdout();
        writeln!(stdout, "{out}: {merged} tensors of {sources} models, merged by {name}")?;
        if !left_out.is_empty() {
            let names: Vec<&str> =
                left_out.iter().take(SHOWN).map(|mismatch| mismatch.name.as_str()).collect();
            let rest = if left_out.len() > SHOWN { ", …" } else { "" };
            writeln!(stdout, "left out {}: {}{rest}", left_out.len(), names.join(", "))?;
        }
        Ok(())
    }
}

/// # Errors
/// The files do not contain the tensors of this backbone.
fn check_backbone(backbone: &BackboneSpec, inputs: &Inputs, common: &[String]) -> Result<(), Error> {
    for parameter in backbone.build().parameters().iter().filter(|parameter| parameter.is_trainable()) {
        let found = inputs.sources[0].tensors().get(&parameter.name).map(|tensor| &tensor.shape);
        if found != Some(&parameter.shape) || !common.contains(&parameter.name) {
            let found = found.map_or("none".to_owned(), |shape| format!("one of {shape:?}"));
            return Err(Error::Usage(format!(
                "the files do not contain a {backbone}: `{}` should have shape {:?}, found {found}; correct \
                 --backbone",
                parameter.name, parameter.shape
            )));
        }
    }
    Ok(())
}

/// A file, restricted to the common tensors.
struct Common<'a> {
    input: &'a Input,
    names: &'a [String],
}

impl NamedTensors for Common<'_> {
    fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    fn tensor(&self, name: &str) -> candle_core::Result<Option<Tensor>> {
        if self.names.iter().any(|common| common == name) { self.input.tensor(name) } else { Ok(None) }
    }
}

/// Metadata of the merged file: the method with its options, the BLAKE3 hash of each input, and the sources' model
/// info, if it is the same in all sources and everything was merged.
fn provenance(inputs: &Inputs, spec: &MergeMethodSpec, whole: bool) -> Result<String, Error> {
    let roles: Vec<_> = inputs.roles().collect();
    let digests = roles.par_iter().map(|(role, input)| Ok((role, input.digest()?)));
    let digests = digests.collect::<Result<Vec<_>, FileError>>()?;
    let mut provenance = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "kind": "merge",
        "method": spec.tagged_options(),
        "blake3": digests.into_iter().map(|(role, digest)| (role.clone(), digest.into())).collect::<serde_json::Map<_, Value>>(),
    });
    let mut infos = inputs.sources.iter().map(info);
    let first = infos.next().flatten().filter(|_| whole);
    if let Some(first) = first.filter(|first| infos.all(|info| info.as_ref() == Some(first))) {
        provenance["info"] = first;
    }
    Ok(provenance.to_string())
}

/// Architecture, normalization and head, if medmerge wrote the file.
fn info(input: &Input) -> Option<Value> {
    let provenance: Value = serde_json::from_str(input.metadata().get(KEY)?).ok()?;
    provenance.get("info").cloned()
}
