//! APTOS 2019 blindness detection: grades of diabetic retinopathy.
//!
//! ```text
//! train.csv                       id_code,diagnosis
//! train_images/000c1434d8d7.png …
//! ```
//!
//! The competition's test images have no published labels. Source:
//! <https://www.kaggle.com/c/aptos2019-blindness-detection>.

use std::path::PathBuf;

use crate::DataError;
use crate::image_files::csv::{Csv, CsvRow};
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::retinopathy::{GRADES, grade};
use crate::split::{RandomSplitSpec, SplitSpec};

image_files! {
    /// APTOS 2019: the folder as it is downloaded. Without the key `split`, it is split at random.
    pub struct Aptos2019Spec in a folder {
        /// Folder that has `train.csv` and `train_images`.
        pub path: PathBuf,
    }
    folders: []
    left_out: []
}

impl ImageFiles for Aptos2019Spec {
    const NAME: &'static str = "aptos2019";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn default_split(&self) -> SplitSpec {
        SplitSpec::Random(RandomSplitSpec::default())
    }

    fn list(&self) -> Result<Listing, DataError> {
        let images = folder::first_of(&self.path, &["train_images"], "the folder of its images")?;
        let labels = folder::first_of(&self.path, &["train.csv"], "the CSV of labels")?;
        let csv = Csv::read(&labels, &["id_code", "diagnosis"])?;
        let (id, diagnosis) = (csv.column("id_code")?, csv.column("diagnosis")?);
        let listed = |row: CsvRow<'_>| {
            let file = images.join(format!("{}.png", row.text(id)?));
            Ok(Listed {
                name: folder::relative(&file, &self.path),
                file,
                label: grade(row, diagnosis)?.into(),
                group: None,
                split: None,
                place: Place::row(csv.path(), row),
            })
        };
        let images = csv.rows().map(listed).collect::<Result<_, DataError>>()?;
        let classes = Some(GRADES.map(Into::into).into());
        Ok(Listing { list: self.path.clone(), images, classes, files: vec![labels] })
    }
}
