//! `medmerge guide`.

use std::io::{IsTerminal, Write, stdout};
use std::process::{Command, Stdio};

use clap::Args;

use super::Error;
use crate::guide::{PAGES, Page, page};
use crate::kind::suggest;

/// The maximum number of topics listed for a word.
const MENTIONING: usize = 4;

/// Show the guide, page by page
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge guide                  the topics
  medmerge guide merge-methods    one of them
  medmerge guide keys             every key of an experiment file
  medmerge guide dicom            the topics that mention a word

On a terminal the page is shown by the program in PAGER, or by less.")]
pub(super) struct Guide {
    /// Page to show
    #[arg(default_value = "index")]
    topic: String,
}

impl Guide {
    pub(super) fn execute(&self) -> Result<(), Error> {
        let Some(page) = page(&self.topic) else {
            let (topic, help) = (&self.topic, help(&self.topic));
            return Err(Error::Usage(format!("the guide has no topic `{topic}`; {help}")));
        };
        if stdout().is_terminal() && paged(page.text) {
            return Ok(());
        }
        Ok(stdout().write_all(page.text.as_bytes())?)
    }
}

/// The topics that a word may stand for: one whose name contains it or is similar, or else those that mention it most.
fn help(word: &str) -> String {
    let topics: Vec<&str> = PAGES.iter().map(|page| page.topic).collect();
    let word = word.to_lowercase();
    let part = topics.iter().copied().find(|topic| topic.contains(&word));
    if let Some(topic) = part.or_else(|| suggest::nearest(&word, &topics)) {
        return format!("did you mean `{topic}`?");
    }
    let mentions = |page: &&Page| page.text.to_lowercase().matches(&word).count();
    let mut mentioning: Vec<&Page> = PAGES.iter().filter(|page| mentions(page) > 0).collect();
    mentioning.sort_by_key(|page| std::cmp::Reverse(mentions(page)));
    let mentioning: Vec<&str> = mentioning.iter().take(MENTIONING).map(|page| page.topic).collect();
    match mentioning[..] {
        [] => suggest::help(&word, &topics).unwrap_or_default(),
        _ => format!("these topics mention it: {}", suggest::list(&mentioning)),
    }
}

/// Show the text in a pager; returns whether that worked.
fn paged(text: &str) -> bool {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less -FRX".to_owned());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return false };
    let Ok(mut child) = Command::new(program).args(words).stdin(Stdio::piped()).spawn() else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // The user may quit the pager before it has read everything.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().is_ok_and(|status| status.success())
}
