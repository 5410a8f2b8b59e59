//! What all kinds of backbone, data set, merge method, stage, augmentation, schedule, loss and optimizer share.
//!
//! An extension point is an enum with one variant per kind, declared by [`kinds!`], and a trait implemented by each
//! kind's spec, so that everything about a kind is in its own file. The trait extends [`Kind`].
//!
//! | file | what |
//! |---|---|
//! | [`problems`] | invalid values, each with the path of its key |
//! | [`paths`] | the files and folders named by a spec |
//! | [`schema`] | the JSON Schema of a type, as used by checks and editors |
//! | [`suggest`] | "did you mean" |
//! | [`file`](mod@file) | reading files that a person names |
//! | [`text`] | text of others, made safe for a terminal |

pub mod file;
pub mod paths;
pub mod problems;
pub mod schema;
pub mod suggest;
pub mod text;

use identity::Identity;

pub use paths::{NamedPath, PathKind};
pub use problems::{Problem, Problems};

#[doc(hidden)]
pub mod reexport {
    pub use {schemars, serde, serde_json, strum};
}

/// What every kind declares. Its keys are the fields of the struct; their help texts are the fields' doc comments.
pub trait Kind: Identity {
    /// Reports values that are invalid on their own.
    fn validate(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// Reports combinations of values that are invalid. Called only if each value is valid on its own.
    fn validate_together(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// The files and folders named by the spec.
    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        Vec::new()
    }
}

/// Declares an extension point: an enum with one variant per kind, one line each.
///
/// The name of a kind in experiment files is its variant in snake case. The enum dereferences to the trait that all
/// kinds implement. It is serialized as an externally tagged enum: `name = { keys }`.
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
            /// The names of all kinds, as written in experiment files.
            pub const KINDS: &'static [&'static str] = <Self as $crate::reexport::strum::VariantNames>::VARIANTS;

            /// The name of the kind, as written in experiment files.
            pub fn kind(&self) -> &'static str {
                self.into()
            }

            /// The options that enter the fingerprint, tagged with the name of the kind.
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
