//! The integration tests: one binary, one module a subject.

mod cli;
mod loss;
mod metric;
mod ops;
mod optimizer;
mod reference;
mod table;
