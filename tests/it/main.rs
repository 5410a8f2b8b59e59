//! Integration tests, in one binary.

mod plan;
mod store;
