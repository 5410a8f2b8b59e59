//! The keys that all kinds of data sets of image files share.

use std::collections::BTreeMap;
use std::path::Path;

use kind::{NamedPath, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assemble::{PerSplit, validate_size};
use crate::pixels::PixelSpec;
use crate::split::SplitSpec;

/// A leak between splits that is an error unless it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Groups (patients, lesions) with images in several splits.
    SharedGroups,
    /// Byte-identical images in several splits.
    IdenticalImages,
}

/// Those keys.
pub struct Shared<'s> {
    /// The CSV or folder.
    pub(crate) path: &'s Path,
    pub(crate) size: usize,
    pub(crate) cache_size: Option<usize>,
    pub(crate) pixels: &'s PixelSpec,
    pub(crate) split: Option<&'s SplitSpec>,
    pub(crate) class_map: &'s BTreeMap<String, String>,
    pub(crate) allow: &'s [Allowed],
}

impl Shared<'_> {
    pub(crate) fn validate(&self, problems: &mut Problems) {
        validate_size(problems, "size", self.size);
        self.cache_size.iter().for_each(|&side| validate_size(problems, "cache_size", side));
        problems.under("pixels", |problems| self.pixels.validate(problems));
        self.validate_split(problems, |split, problems| split.validate(problems));
    }

    pub(crate) fn validate_together(&self, problems: &mut Problems) {
        self.validate_split(problems, |split, problems| split.validate_together(problems));
        if let Some(side) = self.cache_size.filter(|&side| side <= self.size) {
            let message = format!("`cache_size` ({side}) must be above `size` ({})", self.size);
            problems.add("cache_size", message, Some("raise it, or leave it out".into()));
        }
    }

    fn validate_split(&self, problems: &mut Problems, validate: impl FnOnce(&SplitSpec, &mut Problems)) {
        if let Some(split) = self.split {
            problems.under(&format!("split.{}", split.kind()), |problems| validate(split, problems));
        }
    }

    /// Side in pixels of the images of each split.
    pub(crate) fn sides(&self) -> PerSplit<usize> {
        [self.cache_size.unwrap_or(self.size), self.size, self.size]
    }

    /// Adds to a digest what determines decoded pixels, besides the side; nothing if all is the default.
    pub(crate) fn enter(&self, hasher: &mut blake3::Hasher) {
        self.pixels.enter(hasher);
        if let Some(side) = self.cache_size {
            hasher.update(b"cache_size").update(&(side as u64).to_le_bytes());
        }
    }

    pub(crate) fn allows(&self, leak: Allowed) -> bool {
        self.allow.contains(&leak)
    }
}

/// The files that a split names.
pub(crate) fn split_paths(split: &mut Option<SplitSpec>) -> impl Iterator<Item = NamedPath<'_>> {
    let paths = split.iter_mut().flat_map(|split| split.paths());
    paths.map(|path| NamedPath { key: "split.file.path", ..path })
}

/// Declares the spec of a kind that reads image files: its own keys, then those that all such kinds share.
///
/// `path` is a `file` or a `folder`. `folders` are own keys that name optional folders. Keys in `left_out` do not enter
/// the fingerprint: they only say how files are laid out, and the digest has what was found there.
macro_rules! image_files {
    (
        $(#[$meta:meta])*
        pub struct $Spec:ident in a $path_kind:ident {
            $($(#[$key_meta:meta])* pub $key:ident: $Type:ty,)*
        }
        folders: [$($folder:ident),*]
        left_out: [$($left_out:literal),*]
    ) => {
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $Spec {
            $($(#[$key_meta])* pub $key: $Type,)*
            /// Side of the images in pixels, to which they are resized.
            pub size: usize,
            /// Side in pixels at which training images are kept, above `size`: `random_resized_crop`, first in
            /// `augment`, cuts its parts from images of this side. Where `augment` has none, they are resized to `size`
            /// first. If absent, `size`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cache_size: Option<usize>,
            /// How image files become squares of pixels.
            #[serde(default, skip_serializing_if = "crate::pixels::is_default")]
            pub pixels: crate::pixels::PixelSpec,
            /// How images are split into training, validation and test; if absent, `official`, or `random` for a kind
            /// or folder without a split of its own.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub split: Option<crate::split::SplitSpec>,
            /// Labels to rename, `{ AK = "AKIEC" }`, so that a data set has the classes of another; images with a label
            /// that is renamed to `""` are left out.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub class_map: std::collections::BTreeMap<String, String>,
            /// Leaks between splits that are not an error: `shared_groups`, `identical_images`. Tables mention them.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub allow: Vec<crate::image_files::Allowed>,
        }

        impl identity::Identity for $Spec {
            fn left_out(&self) -> &'static [&'static str] {
                &["path", "split", "class_map", "allow", $(stringify!($folder),)* $($left_out),*]
            }

            fn options(&self) -> serde_json::Value {
                let options = identity::options::without(identity::Spec::to_json(self), self.left_out());
                self.pixels.within(options)
            }
        }

        impl kind::Kind for $Spec {
            fn validate(&self, problems: &mut kind::Problems) {
                $crate::image_files::ImageFiles::shared(self).validate(problems);
                $crate::image_files::ImageFiles::validate_own(self, problems);
            }

            fn validate_together(&self, problems: &mut kind::Problems) {
                $crate::image_files::ImageFiles::shared(self).validate_together(problems);
            }

            fn paths(&mut self) -> Vec<kind::NamedPath<'_>> {
                let mut paths = vec![kind::NamedPath::$path_kind("path", &mut self.path)];
                $(paths.extend(self.$folder.iter_mut().map(|path| {
                    kind::NamedPath::folder(stringify!($folder), path)
                }));)*
                paths.extend($crate::image_files::spec::split_paths(&mut self.split));
                paths
            }
        }
    };
}

pub(crate) use image_files;

/// The keys that every such spec has.
macro_rules! shared {
    ($spec:ident) => {
        $crate::image_files::spec::Shared {
            path: &$spec.path,
            size: $spec.size,
            cache_size: $spec.cache_size,
            pixels: &$spec.pixels,
            split: $spec.split.as_ref(),
            class_map: &$spec.class_map,
            allow: &$spec.allow,
        }
    };
}

pub(crate) use shared;
