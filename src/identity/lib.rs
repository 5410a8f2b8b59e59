//! What identifies a result: the vocabulary shared by plans and stores.
//!
//! | file | what |
//! |---|---|
//! | [`fingerprint`] | [`Fingerprint`]: 32 bytes that identify the result of a stage |
//! | [`field`] | [`Field`]: one thing that a fingerprint depends on |
//! | [`options`] | [`Identity`]: which keys of a spec enter the fingerprint |
//! | [`role`] | [`Role`]: what a stage uses an input for |
//! | [`ancestry`] | [`Ancestry`]: the fields of a result and of all its ancestors |
//! | [`numerics`] | [`Numerics`]: the device class and precision, which affect rounding |

pub mod ancestry;
pub mod field;
pub mod fingerprint;
pub mod numerics;
pub mod options;
pub mod role;

pub use ancestry::Ancestry;
pub use field::Field;
pub use fingerprint::{Fingerprint, NotAFingerprint, short};
pub use numerics::{Numerics, Precision};
pub use options::{Identity, Spec};
pub use role::{Averaged, Role};
