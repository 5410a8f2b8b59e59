#![doc = include_str!("layout/isic2019.md")]

use std::collections::HashMap;
use std::path::PathBuf;

use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::isic::{Part, lesions};
use crate::split::{RandomSplitSpec, SplitSpec};
use crate::{DataError, SplitName};

image_files! {
    /// ISIC 2019: the folders as they are downloaded. Without the key `split`, it is split at random by lesion.
    #[schemars(extend("x-layout" = include_str!("layout/isic2019.md")))]
    pub struct Isic2019Spec in a folder {
        /// Folder that has `ISIC_2019_Training_Input` and `ISIC_2019_Training_GroundTruth.csv`.
        pub path: PathBuf,
    }
    folders: []
    left_out: []
}

/// The classes in the order of the ground truth's columns.
const CLASSES: [&str; 9] = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", UNKNOWN];

/// None of the other classes.
const UNKNOWN: &str = "UNK";

impl ImageFiles for Isic2019Spec {
    const NAME: &'static str = "isic2019";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn default_split(&self) -> SplitSpec {
        SplitSpec::Random(RandomSplitSpec::default())
    }

    fn list(&self) -> Result<Listing, DataError> {
        let (mut images, mut files) = self.part("Training", SplitName::Train)?;
        // A random split is one of the training images, whether or not the test images were downloaded.
        let takes_test = matches!(self.split, Some(SplitSpec::Official(_) | SplitSpec::File(_)));
        if takes_test && self.path.join("ISIC_2019_Test_GroundTruth.csv").exists() {
            let (more, read) = self.part("Test", SplitName::Test)?;
            images.extend(more);
            files.extend(read);
        }
        let has_unknown = images.iter().any(|image| image.label.text() == UNKNOWN);
        let classes = CLASSES.iter().filter(|class| **class != UNKNOWN || has_unknown);
        let classes = Some(classes.map(|&class| class.into()).collect());
        Ok(Listing { list: self.path.clone(), images, classes, files })
    }
}

impl Isic2019Spec {
    /// The images of a part, and the files that were read.
    fn part(&self, part: &str, split: SplitName) -> Result<(Vec<Listed>, Vec<PathBuf>), DataError> {
        let [input, truth, metadata] =
            ["Input", "GroundTruth.csv", "Metadata.csv"].map(|what| format!("ISIC_2019_{part}_{what}"));
        let folder = folder::first_of(&self.path, &[&input], "the folder of its images")?;
        let truth = folder::first_of(&self.path, &[&truth], "the ground truth")?;
        let metadata = folder::find(&self.path, &[&metadata]);
        let has_lesions = split == SplitName::Train;
        let known = metadata.as_ref().filter(|_| has_lesions).map(|path| lesions(path, "image"));
        let known = known.transpose()?.unwrap_or_else(HashMap::new);
        let (root, classes) = (&*self.path, &CLASSES[..]);
        let part = Part { root, ground_truth: &truth, images: &folder, classes, lesions: &known, split };
        Ok((part.list()?, std::iter::once(truth).chain(metadata).collect()))
    }
}
