//! Everything that is wrong with an experiment file, in one go.

use std::fmt;
use std::sync::Arc;

use super::{Source, Span};

/// Everything that is wrong with an experiment file, each at its place. Exit code 2.
#[derive(Debug)]
pub struct Errors {
    file: Arc<Source>,
    errors: Vec<(Span, String)>,
}

impl Errors {
    /// Sentences, each with the bytes of the file that it is about; repeats are dropped.
    pub fn new(file: Arc<Source>, mut errors: Vec<(Span, String)>) -> Self {
        errors.sort_by_key(|(span, _)| span.start);
        errors.dedup();
        Self { file, errors }
    }
}

impl std::error::Error for Errors {}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (span, sentence)) in self.errors.iter().enumerate() {
            let before = self.file.text.get(..span.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{line}: {sentence}", self.file.path.display())?;
        }
        Ok(())
    }
}
