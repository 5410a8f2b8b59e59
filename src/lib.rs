//! MedMerge: declarative experiment pipelines for transferring and merging medical imaging models.
pub mod backbone;
pub mod cli;
pub mod dataset;
pub mod error;
pub mod experiment;
pub mod merge_method;
pub mod metric;
pub mod nn;
pub mod plan;
pub mod rng;
pub mod run;
pub mod stage;
pub mod store;
pub mod table;
pub mod train;
