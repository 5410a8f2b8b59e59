//! Why there is no plan.

use dataset::DataError;
use experiment::Errors;
use store::StoreError;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// What is wrong with the experiment's stages: all of it. Exit code 2.
    #[error(transparent)]
    Experiment(#[from] Errors),
    /// Data sets or imported files that cannot be used: all of them. Exit code 3.
    #[error("{}", lines(.0))]
    Data(Vec<DataError>),
    /// The store. Exit code 4.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn lines(errors: &[DataError]) -> String {
    errors.iter().map(DataError::to_string).collect::<Vec<_>>().join("\n")
}
