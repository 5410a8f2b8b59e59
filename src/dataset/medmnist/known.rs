//! The published sets of MedMNIST v2 and MedMNIST+: class names, and MD5 digests of their files.
//!
//! Source: the table `INFO` of the Python package `medmnist` 3.0.2, <https://github.com/MedMNIST/MedMNIST>. The sets of
//! volumes have three dimensions, so they are not here. ChestMNIST is a multi-label data set, the others are not.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use md5::{Digest, Md5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Sides of the images in pixels for which there is a file, in the order of [`Published::md5`].
const SIDES: [usize; 4] = [28, 64, 128, 224];

/// A published set. Its file must be the official one, and classes have its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "names of data sets")]
pub enum MedmnistSet {
    Pathmnist,
    Chestmnist,
    Dermamnist,
    Octmnist,
    Pneumoniamnist,
    Retinamnist,
    Breastmnist,
    Bloodmnist,
    Tissuemnist,
    Organamnist,
    Organcmnist,
    Organsmnist,
}

/// What is known of a set.
struct Published {
    classes: &'static [&'static str],
    /// MD5 of the files, by [`SIDES`].
    md5: [&'static str; 4],
}

/// What is known of the sets, in the order of [`MedmnistSet`].
static PUBLISHED: [Published; 12] = [
    // pathmnist
    Published {
        classes: &[
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ],
        md5: [
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ],
    },
    // chestmnist
    Published {
        classes: &[
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ],
        md5: [
            "02c8a6516a18b556561a56cbdd36c4a8",
            "9de6cd0b934ebb5b7426cfba5efbae16",
            "db107e5590b27930b62dbaf558aebee3",
            "45bd33e6f06c3e8cdb481c74a89152aa",
        ],
    },
    // dermamnist
    Published {
        classes: &[
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ],
        md5: [
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ],
    },
    // octmnist
    Published {
        classes: &["choroidal neovascularization", "diabetic macular edema", "drusen", "normal"],
        md5: [
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ],
    },
    // pneumoniamnist
    Published {
        classes: &["normal", "pneumonia"],
        md5: [
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ],
    },
    // retinamnist
    Published {
        classes: GRADES,
        md5: [
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ],
    },
    // breastmnist
    Published {
        classes: &["malignant", "normal, benign"],
        md5: [
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ],
    },
    // bloodmnist
    Published {
        classes: &[
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ],
        md5: [
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ],
    },
    // tissuemnist
    Published {
        classes: &[
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ],
        md5: [
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ],
    },
    // organamnist
    Published {
        classes: ORGANS,
        md5: [
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ],
    },
    // organcmnist
    Published {
        classes: ORGANS,
        md5: [
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ],
    },
    // organsmnist
    Published {
        classes: ORGANS,
        md5: [
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ],
    },
];

impl MedmnistSet {
    fn published(self) -> &'static Published {
        &PUBLISHED[self as usize]
    }

    /// Class names in the order of the labels.
    pub fn classes(self) -> Vec<String> {
        self.published().classes.iter().map(|&class| class.into()).collect()
    }

    /// Checks that a file is one of the official files of the set.
    ///
    /// # Errors
    /// It is another file, or cannot be read.
    pub(super) fn check(self, path: &Path) -> Result<(), DataError> {
        let found = md5(path).map_err(|error| DataError::io(path, "read", &error))?;
        let official = self.published().md5;
        if official.contains(&found.as_str()) {
            return Ok(());
        }
        let files = SIDES.iter().zip(official).map(|(side, md5)| format!("{md5} ({side} pixels)"));
        let files: Vec<String> = files.collect();
        let message = format!(
            "its MD5 is {found}, but the official files have {}; download it again, or remove `set` if it is another \
             file",
            files.join(", ")
        );
        Err(DataError::new(path, message))
    }
}

fn md5(path: &Path) -> io::Result<String> {
    let mut hasher = Md5::new();
    let mut reader = BufReader::with_capacity(PIECE, kind::file::open(path)?);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        hasher.update(piece);
        let read = piece.len();
        reader.consume(read);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Grades of diabetic retinopathy.
const GRADES: &[&str] = &["0", "1", "2", "3", "4"];

/// The organs of the three sets of abdominal CT.
const ORGANS: &[&str] = &[
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn another_file_than_the_official_one_is_refused_with_the_digests_of_those() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.npz");
        std::fs::write(&path, "abc").unwrap();
        let message = MedmnistSet::Retinamnist.check(&path).unwrap_err().to_string();
        // RFC 1321, section A.5
        assert!(message.contains("its MD5 is 900150983cd24fb0d6963f7d28e17f72, but"), "{message}");
        assert!(message.contains("bd4c0672f1bba3e3a89f0e4e876791e4 (28 pixels), "), "{message}");
    }

    #[test]
    fn every_digest_is_one_and_stands_once() {
        let sets: Vec<MedmnistSet> = serde_json::from_value(serde_json::json!(NAMES)).unwrap();
        let all: Vec<&str> = sets.iter().flat_map(|set| set.published().md5).collect();
        assert!(all.iter().all(|md5| md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit())));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(
            sets.iter().all(|set| set.classes().iter().collect::<BTreeSet<_>>().len() == set.classes().len())
        );
    }

    #[test]
    fn the_table_is_in_the_order_of_the_names() {
        assert_eq!(MedmnistSet::Pathmnist.classes()[7], "cancer-associated stroma");
        assert_eq!(MedmnistSet::Chestmnist.classes()[13], "hernia");
        assert_eq!(MedmnistSet::Tissuemnist.classes()[5], "Podocytes");
        assert_eq!(MedmnistSet::Organsmnist.published().md5[0], "9ab87b696fb54e2a387ebe992d6ed5f1");
    }

    const NAMES: [&str; 12] = [
        "pathmnist",
        "chestmnist",
        "dermamnist",
        "octmnist",
        "pneumoniamnist",
        "retinamnist",
        "breastmnist",
        "bloodmnist",
        "tissuemnist",
        "organamnist",
        "organcmnist",
        "organsmnist",
    ];
}
