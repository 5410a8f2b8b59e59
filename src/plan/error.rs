//! Errors of making a plan.

use dataset::DataError;
use experiment::Errors;
use store::StoreError;

/// Errors of making a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// All errors of the experiment's stages. Exit code 2.
    #[error(transparent)]
    Experiment(#[from] Errors),
    /// All data sets and imported files that cannot be used. Exit code 3.
    #[error("{}", lines(.0))]
    Data(Vec<DataError>),
    /// An error of the store. Exit code 4.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The maximum number of errors shown.
const MOST_SHOWN: usize = 20;

fn lines(errors: &[DataError]) -> String {
    let shown = errors.iter().take(MOST_SHOWN).map(DataError::to_string);
    let more = errors.len().saturating_sub(MOST_SHOWN);
    let more = (more > 0).then(|| format!("and {more} more errors in data"));
    shown.chain(more).collect::<Vec<_>>().join("\n")
}
