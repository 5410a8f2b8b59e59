//! Archives: entries in one file, to move them between machines.
//!
//! An archive is a `.zip` with the files of each entry as `<fingerprint>/<file>`, sorted and uncompressed. It contains
//! no time and no machine, so equal entries give equal bytes.
//!
//! | file | what |
//! |---|---|
//! | `export` | writing entries to an archive |
//! | `output` | the output file of an archive |
//! | `import` | importing entries from an archive |

mod export;
mod import;
mod output;

pub use import::Imported;
