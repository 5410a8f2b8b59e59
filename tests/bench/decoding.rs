//! Decodes and resizes every image of a manifest, without a cache, as the first run of an experiment does.
//!
//!     cargo bench --bench decoding -- CSV [SIZE]
//!
//! Prints the number of images and the seconds. `decoding.py` compares with PyTorch.

use std::time::Instant;

use medmerge::dataset::DatasetKind;
use medmerge::dataset::manifest::ManifestSpec;
use serde_json::json;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(path) = arguments.first() else {
        eprintln!("name the CSV of a manifest: cargo bench --bench decoding -- CSV [SIZE]");
        return;
    };
    let size: usize = arguments.get(1).map_or(Ok(64), |size| size.parse()).expect("SIZE is an integer");
    let spec = json!({ "path": path, "size": size });
    let spec: ManifestSpec = serde_json::from_value(spec).expect("the keys of a manifest");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start = Instant::now();
    let data = spec.load(Some(folder.path())).unwrap_or_else(|error| panic!("{error}"));
    let images = data.train.len() + data.val.len() + data.test.len();
    println!("{images} {:.3}", start.elapsed().as_secs_f64());
}
