//! What every kind of backbone, data set, merge method, stage, augmentation, schedule, loss and optimizer has in common.
//!
//! An extension point is an enum whose variants are its kinds, listed by [`kinds!`], and a trait that each kind's spec
//! implements: everything about a kind stands in its own file. The trait extends [`Kind`].
//!
//! | file | what |
//! |---|---|
//! | [`problems`] | values that are out of range, each with the path of its key |
//! | [`paths`] | files and folders that a spec names |
//! | [`schema`] | the JSON Schema of a type, as checks and editors read it |
//! | [`suggest`] | "did you mean" |

pub mod paths;
pub mod problems;
pub mod schema;
pub mod suggest;

use identity::Identity;

pub use paths::{NamedPath, PathKind};
pub use problems::{Problem, Problems};

#[doc(hidden)]
pub mod reexport {
    pub use {schemars, serde, serde_json, strum};
}

/// What every kind declares beside its work. Its keys are its fields, their help the fields' doc comments.
pub trait Kind: Identity {
    /// Reports values that are wrong whatever the other values are.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// Reports values that do not go together. Called only if each value is right.
    fn validate_together(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// The files and folders that it names.
    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        Vec::new()
    }
}

/// Declares an extension point: an enum with a variant for each kind, one line a kind.
///
/// A kind's name in experiment files is its variant's in snake case. The enum dereferences to the trait that all kinds
/// implement, and is written as serde's externally tagged enums are: `name = { keys }`.
#[macro_export]
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        pub enum $Kinds:ident: $Trait:ident {
            $($(#[$variant_meta:meta])* $Variant:ident($Spec:ty)),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone,
            Debug,
            PartialEq,
            $crate::reexport::serde::Serialize,
            $crate::reexport::serde::Deserialize,
            $crate::reexport::schemars::JsonSchema,
            $crate::reexport::strum::IntoStaticStr,
            $crate::reexport::strum::VariantNames,
        )]
        #[serde(crate = "kind::reexport::serde", rename_all = "snake_case")]
        #[schemars(crate = "kind::reexport::schemars", extend("x-kinds" = true))]
        #[strum(crate = "kind::reexport::strum", serialize_all = "snake_case")]
        #[allow(missing_docs, reason = "the spec of a kind documents it")]
        pub enum $Kinds {
            $($(#[$variant_meta])* $Variant($Spec),)+
        }

        impl $Kinds {
            /// The names of all kinds, as experiment files have them.
            pub const KINDS: &'static [&'static str] = <Self as $crate::reexport::strum::VariantNames>::VARIANTS;

            /// The kind's name, as experiment files have it.
            pub fn kind(&self) -> &'static str {
                self.into()
            }

            /// The options that enter the fingerprint, under the kind's name.
            pub fn tagged_options(&self) -> $crate::reexport::serde_json::Value {
                $crate::reexport::serde_json::json!({ self.kind(): self.options() })
            }
        }

        impl ::std::ops::Deref for $Kinds {
            type Target = dyn $Trait;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$Variant(spec) => spec,)+
                }
            }
        }

        impl ::std::ops::DerefMut for $Kinds {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self {
                    $(Self::$Variant(spec) => spec,)+
                }
            }
        }
    };
}
