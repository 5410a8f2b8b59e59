//! `medmerge data`: one file per subcommand.

mod check;
mod findings;
mod kinds;
mod list;
mod named;
mod sheet;
mod split;

use clap::Subcommand;

use super::{Error, Global};
use crate::error::Exit;

/// Look at data sets: their kinds, counts, images, and what is wrong with them
#[derive(Debug, Subcommand)]
pub(super) enum Data {
    Kinds(kinds::Kinds),
    List(list::List),
    Check(check::Check),
    Split(split::Split),
    Sheet(sheet::Sheet),
}

impl Data {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        match self {
            Self::Check(check) => return check.execute(global),
            Self::Kinds(kinds) => kinds.execute(),
            Self::List(list) => list.execute(),
            Self::Split(split) => split.execute(),
            Self::Sheet(sheet) => sheet.execute(global),
        }
        .map(|()| Exit::Done)
    }
}
