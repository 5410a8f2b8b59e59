//! Entries as one file, to move them between machines.
//!
//! An archive is a `.zip` with the files of each entry as `<fingerprint>/<file>`, sorted and stored as they
//! are. It holds no time and no machine, so the same entries give the same bytes.
//!
//! | file | what |
//! |---|---|
//! | `export` | entries to an archive |
//! | `output` | the file that an archive is written to |
//! | `import` | an archive to entries |

mod export;
mod import;
mod output;

pub use import::Imported;
