//! The integration tests: one binary, one module a subject.

mod loss;
mod ops;
mod optimizer;
mod reference;
