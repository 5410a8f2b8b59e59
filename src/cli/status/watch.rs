//! `medmerge status --watch`: drawn in place on a terminal; elsewhere, again whenever a stage starts or ends.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::{Error, RunStatus, is_active, keep_relevant, no_run, print, statuses};
use crate::cli::output::columns;
use crate::kind::text::visible_lines;
use crate::store::Store;

/// Time between two drawings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show the runs that are current until all of them have ended.
///
/// # Errors
/// The store cannot be read, or stdout is closed.
pub(super) fn watch(store: &Store) -> Result<(), Error> {
    let mut watched = Watched::default();
    let mut screen = Screen::default();
    loop {
        let shown = watched.of(statuses(store)?);
        screen.show(&text(store, &shown)?, &stages(&shown))?;
        if !shown.iter().any(is_active) {
            return Ok(());
        }
        sleep(INTERVAL);
    }
}

/// Names of runs that were current at some time: they are shown until the end.
#[derive(Debug, Default)]
struct Watched(BTreeSet<String>);

impl Watched {
    /// Those among all runs; the last one if there never was a current one.
    fn of(&mut self, mut statuses: Vec<RunStatus>) -> Vec<RunStatus> {
        self.0.extend(statuses.iter().filter(|status| is_active(status)).map(|status| status.run.clone()));
        match self.0.is_empty() {
            true => keep_relevant(&mut statuses),
            false => statuses.retain(|status| self.0.contains(&status.run)),
        }
        statuses
    }
}

fn text(store: &Store, shown: &[RunStatus]) -> Result<String, Error> {
    let mut text = Vec::new();
    if shown.is_empty() {
        writeln!(text, "{}", no_run(store))?;
    }
    shown.iter().try_for_each(|status| print(status, &mut text))?;
    Ok(visible_lines(&String::from_utf8_lossy(&text)).into_owned())
}

/// What changes when a stage starts or ends, and not with every batch.
fn stages(shown: &[RunStatus]) -> String {
    let of = |status: &RunStatus| {
        let RunStatus { run, state, done, failed, skipped, running, .. } = status;
        format!("{run} {state:?} {done} {} {skipped} {:?}\n", failed.len(), running.keys())
    };
    shown.iter().map(of).collect()
}

/// What was shown last.
#[derive(Debug, Default)]
struct Screen {
    text: String,
    stages: Option<String>,
}

impl Screen {
    fn show(&mut self, text: &str, stages: &str) -> io::Result<()> {
        let change = match columns() {
            Some(columns) => erase(&self.text, columns) + text,
            None if self.stages.as_deref() == Some(stages) => String::new(),
            None => text.to_owned(),
        };
        (self.text, self.stages) = (text.to_owned(), Some(stages.to_owned()));
        let mut out = io::stdout().lock();
        // In one write, so that nothing flickers.
        out.write_all(change.as_bytes())?;
        out.flush()
    }
}

/// Moves the cursor to the start of a text above it on a terminal that is now this wide, and clears what is below.
fn erase(text: &str, columns: usize) -> String {
    let rows: usize = text.lines().map(|line| line.width().div_ceil(columns).max(1)).sum();
    if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::status::RunState;

    fn status(run: &str, state: RunState) -> RunStatus {
        RunStatus { run: run.to_owned(), state, stages: 1, ..RunStatus::default() }
    }

    #[test]
    fn a_run_is_watched_to_its_end() {
        let mut watched = Watched::default();
        let names = |shown: Vec<RunStatus>| shown.into_iter().map(|status| status.run).collect::<Vec<_>>();
        let running = vec![status("old", RunState::Finished), status("new", RunState::Running)];
        assert_eq!(names(watched.of(running)), ["new"]);
        let ended = vec![status("old", RunState::Finished), status("new", RunState::Finished)];
        assert_eq!(names(watched.of(ended.clone())), ["new"]);
        assert_eq!(names(Watched::default().of(ended)), ["new"], "the last one if none is current");
        assert!(Watched::default().of(Vec::new()).is_empty());
    }

    #[test]
    fn the_rows_of_the_last_text_are_erased() {
        assert_eq!(erase("", 80), "");
        assert_eq!(erase("a\n\nb\n", 80), "\r\x1b[3A\x1b[J");
        assert_eq!(erase(&("x".repeat(81) + "\n"), 80), "\r\x1b[2A\x1b[J");
    }
}
