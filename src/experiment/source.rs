//! The source of an experiment: a file's text, the parts that it includes, and the overrides from the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::include::{self, Part};
use super::{Diagnostic, Errors, Override, Span};

/// Largest experiment file or part, in bytes.
pub(super) const LARGEST: u64 = 16 << 20;

/// The text of an experiment file with its parts and overrides: everything that is checked and that messages point
/// into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Path of the file.
    pub path: PathBuf,
    /// Text of the file.
    pub text: String,
    /// Included parts, in order.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// Overrides, in order.
    pub overrides: Vec<Override>,
}

impl Source {
    /// A text without parts and overrides.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), ..Self::default() }
    }

    /// Read an experiment file.
    ///
    /// # Errors
    /// The file, its path, or a part that it includes, cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Errors> {
        let failed = |why: String| {
            let message = format!("failed to read {}: {why}", path.display());
            Errors::new(Arc::new(Self::new(path, "")), [Diagnostic::new(message)])
        };
        check_unicode(path).map_err(failed)?;
        let bytes = kind::file::read(path, LARGEST).map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| failed(no_utf8(error.utf8_error())))?;
        match include::read(&text, path.parent().unwrap_or(Path::new(""))) {
            Ok(parts) => Ok(Self { parts, ..Self::new(path, text) }),
            Err(wrong) => Err(Errors::new(Arc::new(Self::new(path, text)), wrong)),
        }
    }

    /// Each part with its offset; parts follow the file's text.
    pub(super) fn parts_at(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.parts.iter().scan(self.text.len() + 1, |at, part| {
            let begin = *at;
            *at += part.text.len() + 1;
            Some((begin, part))
        })
    }

    /// Each override with its offset; overrides follow the parts, each on its own line.
    pub(super) fn overrides_at(&self) -> impl Iterator<Item = (usize, &Override)> {
        self.overrides.iter().scan(self.behind(), |at, each| {
            let begin = *at;
            *at += each.as_str().len() + 1;
            Some((begin, each))
        })
    }

    /// The texts shown by messages: the file, its parts and the overrides, each with a name.
    pub(super) fn pages(&self) -> Vec<(String, String)> {
        let lines: Vec<&str> = self.overrides.iter().map(Override::as_str).collect();
        let path = self.path.display();
        let parts = self.parts.iter().map(|part| (part.path.display().to_string(), part.text.clone()));
        let set = (format!("{path} --set"), lines.join("\n"));
        [(path.to_string(), self.text.clone())].into_iter().chain(parts).chain([set]).collect()
    }

    /// The index into [`Self::pages`] of a span, and its position there.
    pub(super) fn place(&self, span: &Span) -> (usize, Span) {
        let set = (!self.overrides.is_empty()).then(|| self.behind());
        let begins = [0].into_iter().chain(self.parts_at().map(|(at, _)| at)).chain(set);
        let last = begins.enumerate().take_while(|(_, begin)| *begin <= span.start).last();
        let (page, begin) = last.unwrap_or_default();
        (page, span.start - begin..span.end.saturating_sub(begin))
    }

    fn behind(&self) -> usize {
        let texts = [&self.text].into_iter().chain(self.parts.iter().map(|part| &part.text));
        texts.map(|text| text.len() + 1).sum()
    }
}

/// Why a text cannot be read, and what to do.
pub(super) fn no_utf8(error: std::str::Utf8Error) -> String {
    format!("{error}; save it as UTF-8")
}

/// Paths of data are relative to the experiment's folder and are sent to workers as text.
fn check_unicode(path: &Path) -> Result<(), String> {
    let whole = std::path::absolute(path).map_err(|error| error.to_string())?;
    match whole.to_str() {
        Some(_) => Ok(()),
        None => Err(format!("its path is not UTF-8: {}; rename the file or folder", whole.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn f22_a_path_that_is_not_utf8_and_a_device_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/none/\xff/x.toml"));
        let message = Source::read(path).unwrap_err().to_string();
        assert!(message.contains("its path is not UTF-8: /none/\u{fffd}/x.toml; rename"), "{message}");
        let message = Source::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(message.contains("failed to read /dev/zero: it is a pipe or a device"), "{message}");
    }

    #[test]
    fn overrides_follow_the_text_each_on_its_own_line() {
        let overrides = ["a=1", "long.key=2", "b=3"].map(Override::from).to_vec();
        let source = Source { overrides, ..Source::new("x.toml", "text") };
        let pages = source.pages();
        let [file, set] = &pages[..] else { panic!("{pages:?}") };
        assert_eq!((file.0.as_str(), set.0.as_str()), ("x.toml", "x.toml --set"));
        for (at, each) in source.overrides_at() {
            let (page, place) = source.place(&(at..at + each.as_str().len()));
            assert_eq!((page, &set.1[place]), (1, each.as_str()));
        }
        assert_eq!(source.place(&(4..4)), (0, 4..4), "the end of the file");
    }
}
