//! What is fuzzed. A target writes its input to a folder, as a user would have it there, reads it with the program's
//! own functions, and returns what came of it: a result in a few words, or the text of the error.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use medmerge::backbone::BackboneSpec;
use medmerge::backbone::resnet::{ResnetSpec, Stem};
use medmerge::dataset::idx::IdxSpec;
use medmerge::dataset::manifest::ManifestSpec;
use medmerge::dataset::medmnist::MedmnistSpec;
use medmerge::dataset::{DatasetKind, Summary};
use medmerge::deploy::source::Source;
use medmerge::experiment::{Experiment, Override, json_schema};
use medmerge::identity::Fingerprint;
use medmerge::merge_files;
use medmerge::nn::Normalize;
use medmerge::stage::import::{ImportHead, ImportSpec};
use medmerge::stage::{Context, Stage};
use medmerge::store::{Lineage, Store, checkpoint, provenance};
use medmerge::train::resume::Forgetful;
use zip::CompressionMethod::Stored;
use zip::write::SimpleFileOptions;

use super::corpus;

/// Something that reads files.
pub(crate) struct Target {
    /// Its name, and the name of its folder of the corpus.
    pub(crate) name: &'static str,
    /// Tokens of its format.
    pub(crate) dictionary: fn() -> Vec<Vec<u8>>,
    /// Read an input, with files in the folder. Returns the outcome.
    pub(crate) read: fn(&[u8], &Path) -> String,
}

/// All targets.
pub(crate) const TARGETS: [Target; 13] = [
    Target { name: "experiment", dictionary: keys, read: experiment },
    Target { name: "manifest", dictionary: || words(MANIFEST), read: manifest },
    Target { name: "image", dictionary: || words(IMAGE), read: image },
    Target { name: "dicom", dictionary: || words(DICOM), read: image },
    Target { name: "npz", dictionary: || words(NPY), read: npz },
    Target { name: "npy", dictionary: || words(NPY), read: npy },
    Target { name: "idx", dictionary: Vec::new, read: idx },
    Target { name: "pth", dictionary: || words(PICKLE), read: pth },
    Target { name: "pickle", dictionary: || words(PICKLE), read: pickle },
    Target { name: "safetensors", dictionary: || words(SAFETENSORS), read: safetensors },
    Target { name: "described", dictionary: || words(DESCRIBED), read: described },
    Target { name: "archive", dictionary: || words(ENTRY), read: archive },
    Target { name: "entry", dictionary: || words(ENTRY), read: entry },
];

const MANIFEST: &[&str] = &[
    "image", "label", "split", "group", "train", "val", "test", ",", "\n", "\"", "a.png", "../", "/",
    "\u{feff}",
];
const IMAGE: &[&str] = &[
    "IHDR",
    "IDAT",
    "PLTE",
    "tRNS",
    "IEND",
    "iCCP",
    "\u{89}PNG",
    "JFIF",
    "Exif",
    "Adobe",
    "\u{ff}\u{d0}",
    "\u{ff}\u{d9}",
    "\u{ff}\u{da}\u{0}\u{c}\u{3}",
    "\u{ff}\u{dd}\u{0}\u{4}\u{0}\u{1}",
];
const DICOM: &[&str] = &[
    "DICM",
    "(\u{0}\u{10}\u{0}",
    "(\u{0}\u{50}\u{10}DS",
    "\u{fe}\u{ff}\u{0}\u{e0}",
    "\u{fe}\u{ff}\u{d}\u{e0}",
    "\u{fe}\u{ff}\u{dd}\u{e0}",
    "\u{ff}\u{ff}\u{ff}\u{ff}",
    "\u{e0}\u{7f}\u{10}\u{0}OW\u{0}\u{0}",
    "SQ\u{0}\u{0}",
    "UN\u{0}\u{0}",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "MONOCHROME1",
    "RGB",
    "1e308",
];
const NPY: &[&str] = &[
    "'descr': '|u1'",
    "'<i8'",
    "'fortran_order': True",
    "'shape': (",
    "(1,)",
    "()",
    "8, 8, 3",
    "PK\u{1}\u{2}",
    "PK\u{5}\u{6}",
    "train_images.npy",
    "val_labels.npy",
];
const PICKLE: &[&str] = &[
    "ctorch._utils\n_rebuild_tensor_v2\n",
    "ctorch\nFloatStorage\n",
    "ccollections\nOrderedDict\n",
    "\u{80}\u{2}",
    "K\u{1}",
    "J\u{0}\u{0}\u{0}\u{7f}",
    "(",
    "t",
    "Q",
    "R",
    "}",
    "s",
    "u",
    "]",
    "e",
    ".",
    "0",
    "q\u{0}",
    "h\u{0}",
    "archive/data/0",
    "X\u{1}\u{0}\u{0}\u{0}a",
];
const DESCRIBED: &[&str] = &[
    "\"resnet18\"",
    "\"densenet121\": {\"growth\":",
    "\"vit_tiny\": {\"image_size\":",
    "\"patch_size\":",
    "\"width\":",
    "\"crop_pct\":",
    "\"size\":",
    "learn_merge_weights",
    "\"fingerprint\"",
    "0",
    "-1",
    "1e300",
    "18446744073709551615",
    "null",
];
const SAFETENSORS: &[&str] = &[
    "__metadata__",
    "\"dtype\":\"F32\"",
    "\"I64\"",
    "\"F64\"",
    "\"BF16\"",
    "\"shape\":[",
    "\"data_offsets\":[0,",
    "{",
    "}",
    "[",
    "]",
    "medmerge",
    "fc.weight",
];
const ENTRY: &[&str] = &[
    "\"files\": {",
    "manifest.json",
    "model.safetensors",
    "history.csv",
    "log.txt",
    ".predictions.csv",
    "epoch,lr",
    "image,label,predicted,p_0",
    "NaN",
    "inf",
    "../",
    "/",
    "{",
    "}",
    "[",
    "]",
    "null",
    "\"inputs\": [",
];

fn words(list: &[&str]) -> Vec<Vec<u8>> {
    // Each character of a list is one byte.
    list.iter().map(|word| word.chars().map(|c| c as u8).collect()).collect()
}

/// Every key and word of the JSON Schema, and the punctuation of TOML.
fn keys() -> Vec<Vec<u8>> {
    const SIGNS: [&str; 14] =
        ["[", "]", "[[", "]]", "{", "}", "=", "\n", "\"", "'''", "\"\"\"", "${", "#", "[stage.a.merge]\n"];
    let schema = json_schema().to_string();
    let names = schema.split('"').skip(1).step_by(2).filter(|name| name.len() < 40);
    let mut words: Vec<Vec<u8>> = names.map(|name| format!(" {name} ").into_bytes()).collect();
    words.sort_unstable();
    words.dedup();
    words.extend(SIGNS.iter().map(|sign| sign.as_bytes().to_vec()));
    words
}

fn outcome<T: Debug, E: Display>(result: Result<T, E>, what: impl Fn(T) -> String) -> String {
    match result {
        Ok(read) => format!("ok {}", what(read)),
        Err(error) => error.to_string(),
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("failed to write a file");
    path
}

/// Lines that start with `#!` are overrides, as of `--set`.
fn experiment(input: &[u8], folder: &Path) -> String {
    let path = put(folder, "experiment.toml", input);
    let text = String::from_utf8_lossy(input);
    let overrides = text.lines().filter_map(|line| line.strip_prefix("#!"));
    let overrides: Vec<Override> = overrides.take(4).map(Override::from).collect();
    outcome(Experiment::load_with(&path, &overrides), |experiment| {
        format!("{} stages", experiment.stages.len())
    })
}

fn data(spec: &dyn DatasetKind) -> String {
    let _ = (spec.size(), spec.files());
    let described = outcome(spec.summary(), |Summary { counts, .. }| format!("{counts:?}"));
    described + &outcome(spec.load(None), |data| format!("{} {}", data.size, data.train.len()))
}

fn manifest(input: &[u8], folder: &Path) -> String {
    corpus::images().into_iter().for_each(|(name, bytes)| drop(put(folder, name, &bytes)));
    let spec = manifest_spec(put(folder, "labels.csv", input));
    let several = serde_json::json!({ "separator": "|" });
    let several = ManifestSpec { columns: serde_json::from_value(several).expect("columns"), ..spec.clone() };
    data(&spec) + &data(&several)
}

fn image(input: &[u8], folder: &Path) -> String {
    put(folder, "a.png", input);
    let path = put(folder, "labels.csv", b"image,label,split\na.png,x,train\n");
    data(&manifest_spec(path))
}

fn manifest_spec(path: PathBuf) -> ManifestSpec {
    let spec = serde_json::json!({ "path": path, "size": 8, "pixels": { "max_pixels": 1 << 20 } });
    serde_json::from_value(spec).expect("a valid spec")
}

/// A whole `.npz`, at its own size, then resized.
fn npz(input: &[u8], folder: &Path) -> String {
    let path = put(folder, "data.npz", input);
    let spec = MedmnistSpec { path, size: None, classes: None, set: None };
    data(&spec) + &data(&MedmnistSpec { size: Some(8), ..spec })
}

/// One array in an intact `.npz`: digests of the zip do not hide it.
fn npy(input: &[u8], folder: &Path) -> String {
    let arrays = corpus::arrays();
    let with = |array: &str| {
        npz(
            &zipped(arrays.iter().map(|(name, bytes)| (*name, if *name == array { input } else { bytes }))),
            folder,
        )
    };
    with("train_images.npy") + &with("val_labels.npy")
}

/// Four files, each after its length; without the feature `natural-images`, only their headers are read.
fn idx(input: &[u8], folder: &Path) -> String {
    let mut rest = input;
    for name in corpus::IDX {
        let length = rest
            .split_off(..4.min(rest.len()))
            .map_or(0, |length| length.iter().fold(0, |n, &b| n << 8 | usize::from(b)));
        let file = rest.split_off(..length.min(rest.len())).unwrap_or_default();
        put(folder, name, file);
    }
    let spec = IdxSpec { path: folder.into(), size: None, val_fraction: 0.25 };
    format!("{} ", spec.size().min(1)) + &data(&spec)
}

fn pth(input: &[u8], folder: &Path) -> String {
    import(put(folder, "model.pth", input))
}

/// The pickle in an intact `.pth`.
fn pickle(input: &[u8], folder: &Path) -> String {
    pth(&zipped(corpus::pth(input).iter().map(|(name, bytes)| (*name, &bytes[..]))), folder)
}

fn safetensors(input: &[u8], folder: &Path) -> String {
    let path = put(folder, "model.safetensors", input);
    let opened =
        outcome(merge_files::Input::open(&path), |input| format!("{} tensors", input.tensors().len()));
    let loaded = outcome(checkpoint::load(&path), |(tensors, _)| format!("{} tensors", tensors.len()));
    let said = outcome(provenance::provenance(&path), |said| format!("{}", said.is_some()));
    opened + &loaded + &said + &import(path)
}

/// Metadata that describe the model of a file.
fn described(input: &[u8], folder: &Path) -> String {
    let said = HashMap::from([(checkpoint::KEY.to_owned(), String::from_utf8_lossy(input).into_owned())]);
    let path = folder.join("model.safetensors");
    checkpoint::save(&corpus::small_model(), said, &path).expect("failed to write a file");
    outcome(Source::of_path(&path, None), |source| {
        outcome(source.input(None), |input| input.size.to_string())
    })
}

fn import(path: PathBuf) -> String {
    let backbone = BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 8 });
    let (head, normalize) = (ImportHead::Drop, Normalize::default());
    let context = Context {
        inputs: Vec::new(),
        datasets: Vec::new(),
        dataset_fingerprints: Vec::new(),
        input_fingerprints: Vec::new(),
        device: candle_core::Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    };
    let run = |key: Option<String>| {
        let spec = ImportSpec {
            path: path.clone(),
            backbone: backbone.clone(),
            key,
            prefix: None,
            head: head.clone(),
            sha256: None,
            normalize,
            size: None,
            pixels: None,
            allow_non_finite: false,
        };
        spec.run(&context).map_or_else(|error| error.to_string(), |_| "ok".into())
    };
    run(None) + &run(Some("state_dict".into()))
}

/// A store that is empty but for what `fill` puts into it.
fn store(folder: &Path) -> Store {
    let root = folder.join("store");
    let _ = fs::remove_dir_all(&root);
    Store::open(&root).expect("failed to make a store")
}

fn archive(input: &[u8], folder: &Path) -> String {
    let store = store(folder);
    outcome(store.import(&put(folder, "entries.zip", input)), |imported| {
        let read = |entry: &Fingerprint| outcome(store.get(entry), |_| "artifact".into());
        let added: String = imported.added.iter().map(read).collect();
        let damaged: String = imported.damaged.iter().map(ToString::to_string).collect();
        added + &damaged
    })
}

/// An entry with one file: the file's name, its manifest, and its content, apart by [`corpus::RULE`]. Digests are made
/// anew, so that they do not hide what lies behind them.
fn entry(input: &[u8], folder: &Path) -> String {
    let (name, rest) = cut(input, b"\n");
    let (manifest, content) = cut(rest, corpus::RULE);
    let store = store(folder);
    let fingerprint = corpus::fingerprint();
    let entry = store.root().join("store").join(&fingerprint.to_string()[..2]).join(fingerprint.to_string());
    fs::create_dir_all(&entry).expect("failed to make a folder");
    let name = String::from_utf8_lossy(name);
    let plain = !name.is_empty()
        && name.len() < 100
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        && !name.starts_with('.');
    if plain {
        put(&entry, &name, content);
    }
    put(&entry, "manifest.json", &corpus::sealed(manifest, &name, content));
    let described = outcome(store.manifest(&fingerprint), |found| format!("{}", found.is_some()));
    let lineage =
        outcome(Lineage::of_entry(&store, &fingerprint), |lineage| format!("{}", lineage.known.len()));
    described + &lineage + &outcome(store.get(&fingerprint), |_| "artifact".into())
}

/// The bytes before and after the first occurrence of `rule`.
fn cut<'a>(bytes: &'a [u8], rule: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = bytes.windows(rule.len()).position(|window| window == rule);
    at.map_or((bytes, &[]), |at| (&bytes[..at], &bytes[at + rule.len()..]))
}

/// A zip of these files, uncompressed.
pub(crate) fn zipped<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default()
            .compression_method(Stored)
            .last_modified_time(zip::DateTime::default());
        zip.start_file(name, options).expect("a zip in memory");
        zip.write_all(bytes).expect("a zip in memory");
    }
    zip.finish().expect("a zip in memory").into_inner()
}
