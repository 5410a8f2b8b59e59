//! All integration tests, in one binary.

mod loss;
mod optimizer;
