#![doc = include_str!("layout/isic2018.md")]

use std::collections::HashMap;
use std::path::PathBuf;

use crate::image_files::csv::Csv;
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::isic::{Files, Part, lesions};
use crate::{DataError, SplitName};

image_files! {
    /// ISIC 2018, task 3 (HAM10000): the folders as they are downloaded.
    #[schemars(extend("x-layout" = include_str!("layout/isic2018.md")))]
    pub struct Isic2018Spec in a folder {
        /// Folder that has `ISIC2018_Task3_Training_Input` and the other parts, or `HAM10000_images_part_1` and `_2`.
        pub path: PathBuf,
    }
    folders: []
    left_out: []
}

/// The classes in the order of the ground truth's columns.
const CLASSES: [&str; 7] = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"];

const PARTS: [(&str, SplitName); 3] =
    [("Training", SplitName::Train), ("Validation", SplitName::Val), ("Test", SplitName::Test)];

const METADATA: [&str; 2] = ["HAM10000_metadata.csv", "HAM10000_metadata"];

impl ImageFiles for Isic2018Spec {
    const NAME: &'static str = "isic2018";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn list(&self) -> Result<Listing, DataError> {
        let lesion_file = folder::find(&self.path, &["ISIC2018_Task3_Training_LesionGroupings.csv"]);
        let metadata = folder::find(&self.path, &METADATA);
        let lesions = match (&lesion_file, &metadata) {
            (Some(path), _) => lesions(path, "image")?,
            (None, Some(path)) => lesions(path, "image_id")?,
            (None, None) => HashMap::new(),
        };
        let mut files: Vec<PathBuf> = lesion_file.into_iter().chain(metadata).collect();
        let mut images = Vec::new();
        for (part, split) in PARTS {
            if let Some((folder, ground_truth)) = self.part(part)? {
                let (root, classes) = (&*self.path, &CLASSES[..]);
                let part = Part {
                    root,
                    ground_truth: &ground_truth,
                    images: &folder,
                    classes,
                    lesions: &lesions,
                    split,
                };
                images.extend(part.list()?);
                files.push(ground_truth);
            }
        }
        if images.is_empty() {
            images = self.of_metadata(&lesions)?;
        }
        let classes = Some(CLASSES.map(Into::into).into());
        Ok(Listing { list: self.path.clone(), images, classes, files })
    }
}

impl Isic2018Spec {
    /// Folder of images and ground truth of a part, if it is there.
    ///
    /// # Errors
    /// One of the two is missing.
    fn part(&self, part: &str) -> Result<Option<(PathBuf, PathBuf)>, DataError> {
        let input = format!("ISIC2018_Task3_{part}_Input");
        let truth = format!("ISIC2018_Task3_{part}_GroundTruth");
        let (csv, inside) = (format!("{truth}.csv"), format!("{truth}/{truth}.csv"));
        let truths = [csv.as_str(), inside.as_str()];
        match (folder::find(&self.path, &[&input]), folder::find(&self.path, &truths)) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(folder::missing(&self.path, &[&input], "the folder of its images")),
            (Some(_), None) => Err(folder::missing(&self.path, &truths, "the ground truth")),
            (Some(folder), Some(truth)) => Ok(Some((folder, truth))),
        }
    }

    /// The images of HAM10000, labeled by its metadata.
    fn of_metadata(&self, lesions: &HashMap<String, String>) -> Result<Vec<Listed>, DataError> {
        let expected = ["ISIC2018_Task3_Training_Input", "HAM10000_images_part_1"];
        let first = folder::first_of(&self.path, &expected[1..], "the folder of training images")
            .map_err(|_| folder::missing(&self.path, &expected, "the folder of training images"))?;
        let second =
            folder::first_of(&self.path, &["HAM10000_images_part_2"], "the second half of the images")?;
        let metadata = folder::first_of(&self.path, &METADATA, "the metadata")?;
        let csv = Csv::read(&metadata, &["image_id", "dx"])?;
        let (image, diagnosis) = (csv.column("image_id")?, csv.column("dx")?);
        let files = Files::below(&[&first, &second])?;
        let listed = |row: crate::image_files::csv::CsvRow<'_>| {
            let (id, label) = (row.text(image)?, row.text(diagnosis)?.to_uppercase());
            let (lesion, place) = (lesions.get(id), Place::row(csv.path(), row));
            Ok(files.listed(&self.path, id, &label, lesion, Some(SplitName::Train), place))
        };
        csv.rows().map(listed).collect()
    }
}
