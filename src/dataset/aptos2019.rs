#![doc = include_str!("layout/aptos2019.md")]

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
    #[schemars(extend("x-layout" = include_str!("layout/aptos2019.md")))]
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
