//! The integration tests: one binary, one module a subject.

mod cli;
mod dataset;
mod loss;
mod metric;
mod ops;
mod optimizer;
mod plan;
mod reference;
mod store;
mod table;
