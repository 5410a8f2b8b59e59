use super::*;
use backbone::resnet::{ResnetSpec, Stem};
use nn::init::initial_values;

const CLASSES: usize = 3;

fn backbone() -> BackboneSpec {
    BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 8 })
}

fn tensors() -> StateDict {
    initial_values(&backbone().build().all_parameters(Some(CLASSES)), 0, &Device::Cpu).unwrap()
}

fn spec(path: &Path) -> ImportSpec {
    ImportSpec {
        path: path.into(),
        backbone: backbone(),
        key: None,
        prefix: None,
        head: ImportHead::Drop,
        sha256: None,
        normalize: Normalize::default(),
        size: None,
        pixels: None,
        allow_non_finite: false,
    }
}

/// Import a file of these tensors.
fn import(tensors: &StateDict, change: impl FnOnce(&mut ImportSpec)) -> Result<Checkpoint, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let all: std::collections::HashMap<String, Tensor> = tensors.clone().into_iter().collect();
    candle_core::safetensors::save(&all, &path).unwrap();
    let mut spec = spec(&path);
    change(&mut spec);
    import_file(&spec)
}

fn import_file(spec: &ImportSpec) -> Result<Checkpoint, String> {
    let context = Context {
        inputs: Vec::new(),
        datasets: Vec::new(),
        dataset_fingerprints: Vec::new(),
        input_fingerprints: Vec::new(),
        device: Device::Cpu,
        report: &|_| Ok(()),
        resume: &train::resume::Forgetful,
        graphs: false,
    };
    match spec.run(&context) {
        Ok(Artifact::Model(checkpoint)) => Ok(checkpoint),
        Ok(_) => Err("not a model".into()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_head_is_dropped_or_kept() {
    let dropped = import(&tensors(), |_| {}).unwrap();
    assert!(dropped.info.head.is_none() && !dropped.tensors.contains_key("fc.weight"));
    let classes: Vec<String> = ["a", "b", "c"].map(String::from).into();
    let kept = import(&tensors(), |spec| spec.head = ImportHead::Keep(classes.clone())).unwrap();
    assert_eq!(kept.info.head.unwrap().classes, classes);
    assert_eq!(kept.tensors["fc.weight"].dims(), [CLASSES, 64]);
}

#[test]
fn a_head_of_another_number_of_classes_is_refused() {
    let two: Vec<String> = ["a", "b"].map(String::from).into();
    let error = import(&tensors(), |spec| spec.head = ImportHead::Keep(two)).unwrap_err();
    assert!(error.contains("`fc.weight` has shape [3, 64], expected [2, 64]"), "{error}");
}

#[test]
fn f25_classes_of_a_head_have_names_of_their_own() {
    let problems = |classes: &[&str]| {
        let head = ImportHead::Keep(classes.iter().map(ToString::to_string).collect());
        let mut problems = Problems::default();
        ImportSpec { head, ..spec(Path::new("model.pth")) }.validate(&mut problems);
        problems.into_list().into_iter().map(|found| (found.path, found.message)).collect::<Vec<_>>()
    };
    assert_eq!(problems(&["a", "b"]), []);
    assert_eq!(problems(&["a", "a"]), [("head.keep.1".to_owned(), "duplicate class `a`".to_owned())]);
    assert_eq!(problems(&["", "b"]), [("head.keep.0".to_owned(), "a class name is empty".to_owned())]);
}

#[test]
fn f25_a_key_is_for_a_file_with_dictionaries() {
    let error = import(&tensors(), |spec| spec.key = Some("state_dict".into())).unwrap_err();
    assert!(error.contains("a safetensors file, which has no dictionaries; remove `key`"), "{error}");
}

#[test]
fn half_precision_becomes_f32_and_missing_counts_are_added() {
    let mut half: StateDict = tensors();
    half.retain(|name, _| !name.ends_with("num_batches_tracked"));
    half.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(DType::F16).unwrap());
    let model = import(&half, |_| {}).unwrap();
    assert_eq!(model.tensors["conv1.weight"].dtype(), DType::F32);
    assert_eq!(model.tensors["bn1.num_batches_tracked"].to_scalar::<i64>().unwrap(), 0);
}

#[test]
fn tensors_of_another_network_are_listed() {
    let mut other = tensors();
    let moved = other.remove("layer4.1.bn2.bias").unwrap();
    other.insert("layer4.1.bn3.bias".into(), moved);
    let error = import(&other, |_| {}).unwrap_err();
    for words in [
        "`layer4.1.bn2.bias` is missing",
        "not part of the backbone: `layer4.1.bn3.bias`",
        "small stem, width 8",
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn f16_values_that_no_network_can_use_are_refused_unless_allowed() {
    let cases = [
        ("conv1.weight", f32::NAN, "NaN or infinite"),
        ("bn1.bias", f32::INFINITY, "NaN or infinite"),
        ("bn1.running_var", -0.5, "negative variances"),
    ];
    for (name, value, words) in cases {
        let mut bad = tensors();
        let first = bad[name].clone();
        let shape = first.dims().to_vec();
        let mut elements = first.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        elements[1] = value;
        bad.insert(name.into(), Tensor::from_vec(elements, shape, &Device::Cpu).unwrap());
        let error = import(&bad, |_| {}).unwrap_err();
        assert!(error.contains(&format!("`{name}` has {words}")), "{error}");
        assert!(error.contains("allow_non_finite = true"), "{error}");
        import(&bad, |spec| spec.allow_non_finite = true).unwrap();
    }
}

#[test]
fn an_import_states_how_images_were_prepared() {
    let pixels = serde_json::json!({ "crop_mode": "center", "max_pixels": 9 });
    let pixels: Option<PixelSpec> = serde_json::from_value(pixels).unwrap();
    let model = import(&tensors(), |spec| (spec.size, spec.pixels) = (Some(32), pixels)).unwrap();
    let stated = model.info.preprocessing.to_string();
    assert_eq!(stated, r#"size = 32, pixels = { crop_mode = "center" }"#);
    assert!(spec(Path::new("model.pth")).options().get("pixels").is_none(), "as before without the keys");
}

#[test]
fn f16_the_key_that_allows_them_is_not_in_the_fingerprint_at_its_default() {
    let mut spec = spec(Path::new("model.pth"));
    assert!(spec.options().get("allow_non_finite").is_none());
    spec.allow_non_finite = true;
    assert_eq!(spec.options()["allow_non_finite"], true);
}

/// A file of a tebibyte, nearly all of it in a tensor that is not the network's.
#[test]
#[cfg(unix)]
fn f24_only_the_header_of_a_file_is_read_to_check_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut header = serde_json::json!({});
    let mut end = 0;
    let mut shapes: Vec<_> =
        tensors().iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    shapes.push(("extra".into(), vec![1 << 38]));
    for (name, shape) in shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header[name] = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] });
    }
    let header = header.to_string();
    let start = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    std::fs::write(&path, &start).unwrap();
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    file.set_len((start.len() + end) as u64).unwrap();
    let error = spec(&path).examine_files().unwrap_err();
    assert!(error.message.contains("not part of the backbone: `extra`"), "{error}");
}

#[test]
fn the_error_for_an_old_pth_file_says_how_to_convert_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.pth");
    std::fs::write(&path, [0x80, 2, b'}', b'q']).unwrap();
    let error = import_file(&spec(&path)).unwrap_err();
    assert!(error.contains("python -c") && error.contains("old.pth.zip.pth"), "{error}");
}

#[test]
fn a_file_that_is_not_a_checkpoint_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (content, words) in [("PKnonsense", "failed to read its tensors"), ("hello", "neither a safetensors")]
    {
        let path = folder.path().join("model.pth");
        std::fs::write(&path, content).unwrap();
        let error = import_file(&spec(&path)).unwrap_err();
        assert!(error.contains(words) && error.contains("model.pth"), "{error}");
    }
    let error = import_file(&spec(&folder.path().join("absent.pth"))).unwrap_err();
    assert!(error.contains("failed to read"), "{error}");
}
