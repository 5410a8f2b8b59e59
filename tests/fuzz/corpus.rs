//! The inputs to start from: `corpus/<target>/`, a few kilobytes each. Text files are written by hand, the others by
//! [`write()`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use candle_core::{Device, Tensor};
use image::{DynamicImage, ImageFormat, RgbImage};
use medmerge::backbone::BackboneSpec;
use medmerge::backbone::resnet::{ResnetSpec, Stem};
use medmerge::identity::{Ancestry, Field, Fingerprint};
use medmerge::model::{Artifact, Checkpoint, Description, Evaluation, ModelInfo, Prediction};
use medmerge::nn::{Normalize, StateDict};
use medmerge::store::{EntryHeader, Manifest, Store};
use medmerge::train::EpochRecord;

use super::target::zipped;

/// Between the manifest and the content of an entry.
pub(crate) const RULE: &[u8] = b"\n====\n";

/// The files of a folder in the IDX format.
pub(crate) const IDX: [&str; 4] = [
    "train-images-idx3-ubyte",
    "t10k-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-labels-idx1-ubyte",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// The inputs of a target, in the order of their names. Shipped experiments are inputs, too.
pub(crate) fn of(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = read(&root().join(target))?;
    if target == "experiment" {
        inputs.extend(read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments"))?);
    }
    match inputs.is_empty() {
        true => Err(io::Error::other("its corpus is empty")),
        false => Ok(inputs),
    }
}

fn read(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<BTreeSet<_>>>()?;
    paths.into_iter().filter(|path| path.is_file()).map(fs::read).collect()
}

/// Make the binary files again.
pub(crate) fn write() -> io::Result<()> {
    let arrays = arrays();
    let npz = zipped(arrays.iter().map(|(name, bytes)| (*name, &bytes[..])));
    let pickles = [flat(), nested()];
    let pths =
        pickles.each_ref().map(|pickle| zipped(pth(pickle).iter().map(|(name, bytes)| (*name, &bytes[..]))));
    let (entries, archive) = entries()?;
    let model = encode(&small_model());
    for (target, name, bytes) in [
        ("image", "gray.png", png(DynamicImage::new_luma16(9, 5))),
        ("image", "rgb.png", images()[0].1.clone()),
        ("image", "rgb.jpg", images()[1].1.clone()),
        ("image", "turned.jpg", reference("exif_6")?),
        ("image", "palette.png", reference("png_palette_alpha")?),
        ("image", "cmyk.jpg", reference("jpeg_cmyk")?),
        ("image", "progressive.jpg", reference("jpeg_progressive")?),
        ("dicom", "explicit.dcm", reference("dicom_ct")?),
        ("dicom", "implicit.dcm", reference("dicom_ct_implicit")?),
        ("dicom", "rgb.dcm", reference("dicom_rgb_planar")?),
        ("dicom", "rle.dcm", reference("dicom_rle_rgb")?),
        ("dicom", "jpeg.dcm", reference("dicom_jpeg")?),
        ("npz", "stored.npz", npz),
        ("npy", "images.npy", arrays[0].1.clone()),
        ("npy", "labels.npy", arrays[3].1.clone()),
        ("idx", "four_files", idx()),
        ("pickle", "flat.pkl", pickles[0].clone()),
        ("pickle", "nested.pkl", pickles[1].clone()),
        ("pth", "flat.pth", pths[0].clone()),
        ("pth", "nested.pth", pths[1].clone()),
        ("safetensors", "small.safetensors", model),
        ("archive", "entries.zip", archive),
    ] {
        put(target, name, &bytes)?;
    }
    entries.iter().try_for_each(|(name, bytes)| put("entry", name, bytes))
}

fn put(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = root().join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// A file of the reference numbers for images.
fn reference(name: &str) -> io::Result<Vec<u8>> {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pixels.safetensors"))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes).map_err(io::Error::other)?;
    Ok(tensors.tensor(&format!("file.{name}")).map_err(io::Error::other)?.data().to_vec())
}

/// A PNG and a JPEG, with their names.
pub(crate) fn images() -> [(&'static str, Vec<u8>); 2] {
    let image = RgbImage::from_fn(12, 9, |x, y| image::Rgb([20 * x as u8, 25 * y as u8, 7]));
    let jpeg = jpeg(&image);
    [("a.png", png(image.into())), ("b.jpg", jpeg)]
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let [width, height] = [image.width(), image.height()].map(|side| side as usize);
    let (pixels, format) = (image.as_raw().as_slice(), turbojpeg::PixelFormat::RGB);
    let image = turbojpeg::Image { pixels, width, pitch: 3 * width, height, format };
    turbojpeg::compress(image, 75, turbojpeg::Subsamp::Sub2x2).expect("an image in memory").to_vec()
}

fn png(image: DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).expect("an image in memory");
    bytes.into_inner()
}

/// The arrays of a small data set with images of 8 x 8 pixels.
pub(crate) fn arrays() -> [(&'static str, Vec<u8>); 6] {
    let images = |count: usize| npy("|u1", &format!("({count}, 8, 8)"), &vec![9; count * 64]);
    let labels = |labels: &[u8]| npy("|u1", &format!("({}, 1)", labels.len()), labels);
    let wide: Vec<u8> = [0i64, 1].iter().flat_map(|label| label.to_le_bytes()).collect();
    [
        ("train_images.npy", images(3)),
        ("val_images.npy", images(2)),
        ("test_images.npy", images(1)),
        ("train_labels.npy", labels(&[0, 1, 0])),
        ("val_labels.npy", npy("<i8", "(2,)", &wide)),
        ("test_labels.npy", labels(&[1])),
    ]
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// [`IDX`] with images of 8 x 8 pixels, each after its length.
fn idx() -> Vec<u8> {
    let file = |words: &[u32], data: &[u8]| {
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let length = (header.len() + data.len()) as u32;
        [&length.to_be_bytes()[..], &header, data].concat()
    };
    [
        file(&[2051, 4, 8, 8], &[9; 256]),
        file(&[2051, 2, 8, 8], &[9; 128]),
        file(&[2049, 4], &[0, 1, 0, 1]),
        file(&[2049, 2], &[0, 1]),
    ]
    .concat()
}

/// The files of a `.pth` with this pickle and one storage of four elements.
pub(crate) fn pth(pickle: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let storage = [1f32, 2., 3., 4.].iter().flat_map(|element| element.to_le_bytes()).collect();
    [("archive/data.pkl", pickle.to_vec()), ("archive/data/0", storage), ("archive/version", b"3\n".to_vec())]
}

/// `{"a.weight": tensor([[1, 2], [3, 4]])}`, as `torch.save` writes it.
fn flat() -> Vec<u8> {
    [b"\x80\x02}q\x00", &item("a.weight")[..], b"."].concat()
}

/// `{"state_dict": {"a.weight": …}, "epoch": 7}`.
fn nested() -> Vec<u8> {
    [b"\x80\x02}q\x00(", &text("state_dict")[..], b"}", &item("a.weight"), &text("epoch"), b"K\x07u."]
        .concat()
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor of 2 x 2 elements, set as an item of the dictionary on the stack.
fn item(name: &str) -> Vec<u8> {
    let storage =
        [b"(", &text("storage")[..], b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x04tQ"]
            .concat();
    let rest = b"K\x00K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtRs";
    [&text(name)[..], b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage, rest].concat()
}

/// The fingerprint of the entry of the target `entry`.
pub(crate) fn fingerprint() -> Fingerprint {
    named("entry")
}

fn named(name: &str) -> Fingerprint {
    Fingerprint::of_parts([name])
}

/// A manifest with one file, and the digest of itself at its end, if it is JSON.
pub(crate) fn sealed(manifest: &[u8], name: &str, content: &[u8]) -> Vec<u8> {
    let Ok(serde_json::Value::Object(mut manifest)) = serde_json::from_slice(manifest) else {
        return manifest.to_vec();
    };
    if manifest.contains_key("files") {
        let record = serde_json::json!({ "bytes": content.len(), "blake3": digest(content) });
        manifest.insert("files".into(), serde_json::json!({ name: record }));
    }
    let json = serde_json::to_string_pretty(&manifest).expect("JSON is written");
    let content = json.strip_suffix("\n}").unwrap_or(&json);
    format!("{content},\n  \"blake3\": \"{}\"\n}}", digest(content.as_bytes())).into_bytes()
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

pub(crate) fn small_model() -> StateDict {
    let tensor =
        |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).expect("on the CPU");
    StateDict::from([("fc.weight".into(), tensor(&[2, 3])), ("fc.bias".into(), tensor(&[2]))])
}

fn encode(tensors: &StateDict) -> Vec<u8> {
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(tensors, Some(metadata)).expect("tensors in memory")
}

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// The seeds of `entry`, one a file of an entry, and an archive of these entries.
fn entries() -> io::Result<(Files, Vec<u8>)> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path()).map_err(io::Error::other)?;
    let mut seeds = Files::new();
    let mut all = BTreeSet::new();
    for (header, artifact) in [(header("pretrain"), model()), (header("evaluate"), evaluation())] {
        let kind = header.kind.clone();
        let fingerprint = header.fingerprint;
        let manifest = store.put(header, &artifact, "epoch 1\n").map_err(io::Error::other)?;
        let files =
            folder.path().join("store").join(&fingerprint.to_string()[..2]).join(fingerprint.to_string());
        for name in manifest.files.keys().filter(|name| *name != "log.txt") {
            seeds.insert(format!("{kind}.{name}"), seed(&manifest, name, &fs::read(files.join(name))?)?);
        }
        all.insert(fingerprint);
    }
    let archive = folder.path().join("entries.zip");
    store.export(&all, &archive, &AtomicBool::new(false)).map_err(io::Error::other)?;
    Ok((seeds, fs::read(archive)?))
}

/// A name, a manifest that belongs to [`fingerprint`], and the content.
fn seed(manifest: &Manifest, name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut manifest = manifest.clone();
    manifest.header.fingerprint = fingerprint();
    Ok([name.as_bytes(), b"\n", &serde_json::to_vec_pretty(&manifest)?, RULE, content].concat())
}

fn header(kind: &str) -> EntryHeader {
    EntryHeader {
        fingerprint: named(kind),
        kind: kind.into(),
        revision: 1,
        fields: vec![Field { path: "kind".into(), value: kind.into() }],
        inputs: vec![("model".into(), named("model"))],
        datasets: vec![("dataset".into(), named("data"))],
        dataset_names: vec!["cells".into()],
        ancestry: Ancestry::new(),
        stage_ids: vec!["stage[seed=0]".into()],
        description: Description::Scores,
        started: SystemTime::UNIX_EPOCH,
        seconds: 1.5,
        peak_memory: None,
    }
}

fn model() -> Artifact {
    let backbone = BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 8 });
    let info = ModelInfo {
        backbone,
        normalize: Normalize::default(),
        head: None,
        preprocessing: Default::default(),
    };
    let val = [("macro_f1".to_string(), 0.5)].into_iter().collect();
    let history = vec![EpochRecord { epoch: 0, lr: 0.1, train_loss: 0.5, val, best: true }];
    Artifact::Model(Checkpoint { info, tensors: small_model(), history })
}

fn evaluation() -> Artifact {
    let prediction = Prediction {
        model: named("model"),
        dataset: named("data"),
        images: vec!["test/0".into(), "test/1".into()],
        labels: vec![1, 0].into(),
        probabilities: vec![vec![0.1, 0.9], vec![0.5, 0.5]],
    };
    Artifact::Evaluation(Evaluation { predictions: vec![prediction] })
}
