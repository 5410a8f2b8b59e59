//! Opening a file with the program that the desktop has for it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Error;
use crate::cli::output::stdout;

/// Programs that open a file with the one for its type.
const OPENERS: &[&str] = if cfg!(target_os = "macos") { &["open"] } else { &["xdg-open", "wslview"] };

/// Open a file; its path is printed at any rate.
///
/// # Errors
/// No program opens it.
pub(super) fn open(file: &Path) -> Result<(), Error> {
    writeln!(stdout(), "{}", file.display())?;
    let opens = |program: &&&str| {
        let quiet = Command::new(program)
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        quiet.is_ok_and(|status| status.success())
    };
    match OPENERS.iter().find(opens) {
        Some(_) => Ok(()),
        None => Err(Error::Usage(format!(
            "failed to open {}: {} found no browser; open it yourself, or copy it to a computer with a screen",
            file.display(),
            OPENERS.join(" or ")
        ))),
    }
}
