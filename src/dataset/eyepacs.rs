#![doc = include_str!("layout/eyepacs.md")]

use std::path::{Path, PathBuf};

use crate::image_files::csv::{Csv, CsvRow};
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::retinopathy::{GRADES, grade};
use crate::split::{RandomSplitSpec, SplitSpec};
use crate::{DataError, SplitName};

image_files! {
    /// EyePACS: the folders as they are downloaded. Without the key `split`, the competition's split if its solution is
    /// there, and otherwise a random split by patient.
    #[schemars(extend("x-layout" = include_str!("layout/eyepacs.md")))]
    pub struct EyepacsSpec in a folder {
        /// Folder that has `trainLabels.csv` and `train`.
        pub path: PathBuf,
    }
    folders: []
    left_out: []
}

const SOLUTION: &str = "retinopathy_solution.csv";

impl ImageFiles for EyepacsSpec {
    const NAME: &'static str = "eyepacs";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn default_split(&self) -> SplitSpec {
        match self.path.join(SOLUTION).exists() {
            true => SplitSpec::default(),
            false => SplitSpec::Random(RandomSplitSpec::default()),
        }
    }

    fn list(&self) -> Result<Listing, DataError> {
        let labels = folder::first_of(&self.path, &["trainLabels.csv"], "the CSV of labels")?;
        let mut images = self.part("train", &labels, None)?;
        let mut files = vec![labels];
        if let Some(solution) = folder::find(&self.path, &[SOLUTION]) {
            images.extend(self.part("test", &solution, Some("Usage"))?);
            files.push(solution);
        }
        let classes = Some(GRADES.map(Into::into).into());
        Ok(Listing { list: self.path.clone(), images, classes, files })
    }
}

impl EyepacsSpec {
    /// The images of a folder. `usage` is the column that states their split; without one, they are for training.
    fn part(&self, folder: &str, labels: &Path, usage: Option<&str>) -> Result<Vec<Listed>, DataError> {
        let images = folder::first_of(&self.path, &[folder], "a folder of its images")?;
        let csv = Csv::read(labels, &["image", "level"])?;
        let (image, level) = (csv.column("image")?, csv.column("level")?);
        let usage = usage.map(|usage| csv.column(usage)).transpose()?;
        let listed = |row: CsvRow<'_>| {
            let id = row.text(image)?;
            let file = images.join(format!("{id}.jpeg"));
            Ok(Listed {
                name: folder::relative(&file, &self.path),
                file,
                label: grade(row, level)?.into(),
                group: Some(patient(id).into()),
                split: Some(usage.map_or(Ok(SplitName::Train), |usage| split(row, usage))?),
                place: Place::row(csv.path(), row),
            })
        };
        csv.rows().map(listed).collect()
    }
}

/// `10` of `10_left`.
fn patient(image: &str) -> &str {
    image.strip_suffix("_left").or_else(|| image.strip_suffix("_right")).unwrap_or(image)
}

fn split(row: CsvRow<'_>, usage: usize) -> Result<SplitName, DataError> {
    match row.text(usage)? {
        "Public" => Ok(SplitName::Val),
        "Private" => Ok(SplitName::Test),
        other => Err(row.error(format!("Usage is '{other}'; it must be Public or Private"))),
    }
}
