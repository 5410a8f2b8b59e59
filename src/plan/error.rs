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

fn lines(errors: &[DataError]) -> String {
    errors.iter().map(DataError::to_string).collect::<Vec<_>>().join("\n")
}
