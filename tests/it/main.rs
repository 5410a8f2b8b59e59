//! Integration tests, in one binary: a module for each part of the library.

mod metric;
mod table;
