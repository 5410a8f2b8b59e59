//! The integration tests: one binary, one module a subject.

mod builder;
mod experiment;
mod loss;
mod metric;
mod ops;
mod optimizer;
mod reference;
mod table;
