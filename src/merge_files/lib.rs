//! Checkpoint files into one, for `medmerge merge`: tensor by tensor, so that no more than a few layers of any model
//! are ever in memory.
//!
//! | file | what |
//! |---|---|
//! | `input` | a safetensors file whose tensors are read when they are asked for |
//! | `agreement` | which tensors all files have in the same shape, and which they do not |
//! | `output` | a safetensors file that is written in any order and appears whole or not at all |

mod agreement;
mod input;
mod output;

use std::path::PathBuf;

use rayon::prelude::*;

use merge_method::{MergeTensors, NamedTensors, merge_name};

pub use agreement::{Agreement, Mismatch};
pub use input::Input;
pub use output::Output;

/// Bytes of merged tensors that are made at once. It bounds what is in memory, whatever the number of threads.
const AT_ONCE: usize = 20 << 20;

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or is not what it should be.
    #[error("failed to read {}: {problem}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do if that is known.
        problem: String,
    },
    /// It cannot be written.
    #[error("failed to write {}: {problem}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The method fails on a tensor, or it cannot be read.
    #[error("failed to merge `{name}`: {problem}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The files to merge.
#[derive(Debug)]
pub struct Inputs {
    /// One or more, in their order.
    pub sources: Vec<Input>,
    /// Their common start.
    pub base: Option<Input>,
}

impl Inputs {
    /// The files with what they are used for: `source.0`, `source.1`, …, `base`.
    pub fn roles(&self) -> impl Iterator<Item = (String, &Input)> {
        let sources = self.sources.iter().enumerate();
        let sources = sources.map(|(i, source)| (format!("source.{i}"), source));
        sources.chain(self.base.iter().map(|base| ("base".to_owned(), base)))
    }

    /// Merge what the files agree on. What is no floating-point number is the first source's, byte by byte.
    ///
    /// # Errors
    /// A tensor cannot be read, merged or written.
    pub fn merge(
        &self,
        method: &dyn MergeTensors,
        names: &[String],
        output: &Output,
    ) -> Result<(), FileError> {
        let sources: Vec<&dyn NamedTensors> = self.sources.iter().map(|source| source as _).collect();
        let base = self.base.as_ref().map(|base| base as &dyn NamedTensors);
        let one = |name: &&String| {
            let first = &self.sources[0];
            if !first.is_float(name) {
                return output.put(name, &first.bytes(name)?);
            }
            let problem = |error: String| FileError::Tensor { name: (*name).clone(), problem: error };
            let merged =
                merge_name(method, name, &sources, base).map_err(|error| problem(error.to_string()))?;
            let merged = merged.ok_or_else(|| problem("not all sources have it in the same shape".into()))?;
            output.put_tensor(name, &merged)
        };
        self.batches(names).into_iter().try_for_each(|batch| batch.par_iter().try_for_each(one))
    }

    /// Names whose tensors may be in memory together, the largest first.
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
