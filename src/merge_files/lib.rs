//! Merging checkpoint files (`medmerge merge`) tensor by tensor, so that at most a few layers of any model are in
//! memory.
//!
//! | file | what |
//! |---|---|
//! | `input` | a safetensors file whose tensors are read on demand |
//! | `agreement` | common tensors and mismatches of files |
//! | `output` | a safetensors file written in any order and atomically |

mod agreement;
mod input;
mod output;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use merge_method::{MergeTensors, NamedTensors, merge_name};
use nn::finite::{is_finite, is_negative_variance};

pub use agreement::{Agreement, Mismatch};
pub use input::{Input, not_safetensors};
pub use output::Output;

/// Bytes of merged tensors computed at once, which bounds memory independently of the number of threads.
const AT_ONCE: usize = 20 << 20;

/// An error with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file cannot be read or has an invalid format.
    #[error("failed to read {}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong and, if known, what to do.
        problem: String,
    },
    /// A file cannot be written.
    #[error("failed to write {}: {problem}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The user interrupted; nothing was written.
    #[error("interrupted; nothing was written")]
    Interrupted,
    /// A tensor cannot be read or merged.
    #[error("failed to merge `{name}`: {problem}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The files to merge.
#[derive(Debug)]
pub struct Inputs {
    /// The sources in order, one or more.
    pub sources: Vec<Input>,
    /// The common start of the sources.
    pub base: Option<Input>,
}

impl Inputs {
    /// The files with their roles: `source.0`, `source.1`, …, `base`.
    pub fn roles(&self) -> impl Iterator<Item = (String, &Input)> {
        let sources = self.sources.iter().enumerate();
        let sources = sources.map(|(i, source)| (format!("source.{i}"), source));
        sources.chain(self.base.iter().map(|base| ("base".to_owned(), base)))
    }

    /// Merge the common tensors. Tensors that are not floating-point are copied from the first source.
    ///
    /// # Errors
    /// A tensor cannot be read, merged or written, or `interrupt` was raised.
    pub fn merge(
        &self,
        method: &dyn MergeTensors,
        names: &[String],
        output: &Output,
        interrupt: &AtomicBool,
    ) -> Result<(), FileError> {
        let sources: Vec<&dyn NamedTensors> = self.sources.iter().map(|source| source as _).collect();
        let base = self.base.as_ref().map(|base| base as &dyn NamedTensors);
        let one = |name: &&String| {
            if interrupt.load(Ordering::Relaxed) {
                return Err(FileError::Interrupted);
            }
            let first = &self.sources[0];
            if !first.is_float(name) {
                return output.put(name, &first.bytes(name)?);
            }
            let problem = |error: String| FileError::Tensor { name: (*name).clone(), problem: error };
            let merged =
                merge_name(method, name, &sources, base).map_err(|error| problem(error.to_string()))?;
            let merged = merged.ok_or_else(|| problem("its shape differs between the sources".into()))?;
            if !is_finite(&merged).map_err(|error| problem(error.to_string()))? {
                return Err(problem(self.not_finite(name)));
            }
            if is_negative_variance(name, &merged).map_err(|error| problem(error.to_string()))? {
                return Err(problem(
                    "the result has negative variances, which no network can compute with; use weights of 0 or more"
                        .into(),
                ));
            }
            output.put_tensor(name, &merged)
        };
        // Of several errors, the first one is told, whatever the threads did.
        let all = |batch: Vec<&String>| batch.par_iter().map(one).collect::<Vec<_>>().into_iter().collect();
        self.batches(names).into_iter().try_for_each(all)
    }

    /// Where the elements of a merged tensor that are not finite come from.
    fn not_finite(&self, name: &str) -> String {
        let is_bad = |source: &&Input| {
            source
                .tensor(name)
                .is_ok_and(|tensor| tensor.is_some_and(|tensor| !is_finite(&tensor).unwrap_or(true)))
        };
        match self.sources.iter().find(is_bad) {
            Some(source) => {
                format!(
                    "{} has NaN or infinite elements there; use another checkpoint",
                    source.path().display()
                )
            }
            None => "the result has NaN or infinite elements; check the options of the method".into(),
        }
    }

    /// Batches of names whose tensors fit into memory together, the largest first.
    fn batches<'a>(&self, names: &'a [String]) -> Vec<Vec<&'a String>> {
        let size = |name: &str| self.sources[0].size(name);
        let mut names: Vec<&String> = names.iter().collect();
        names.sort_by_key(|name| std::cmp::Reverse(size(name)));
        let (mut batches, mut bytes): (Vec<Vec<&String>>, usize) = (Vec::new(), 0);
        for name in names {
            bytes += size(name);
            match batches.last_mut() {
                Some(batch) if bytes <= AT_ONCE => batch.push(name),
                _ => {
                    bytes = size(name);
                    batches.push(vec![name]);
                }
            }
        }
        batches
    }
}
