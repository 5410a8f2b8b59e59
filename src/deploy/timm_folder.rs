//! `config.json` of timm: it describes the model of a folder that another program wrote.

use serde_json::{Map, Value, json};

use crate::backbone::BackboneSpec;
use crate::stage::ModelInfo;

/// Arguments of timm's functions, and the options of backbones that they stand for.
const ARGUMENTS: [(&str, &str); 3] =
    [("img_size", "image_size"), ("patch_size", "patch_size"), ("growth_rate", "growth")];

/// What the content of a `config.json` says of the model; where it is silent, timm's defaults.
///
/// # Errors
/// It is not such a file, or there is no such backbone or preprocessing here.
pub fn info(config: &str) -> Result<ModelInfo, String> {
    let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
    let known = |key: &str, default: Value| config["pretrained_cfg"].get(key).cloned().unwrap_or(default);
    let pixels = json!({
        "crop_mode": known("crop_mode", json!("center")),
        "crop_pct": known("crop_pct", json!(0.875)),
        "interpolation": known("interpolation", json!("bicubic")),
    });
    if pixels["crop_mode"] == "border" {
        return Err(
            "`crop_mode` is border, which pads with the mean color in timm and with black here".into()
        );
    }
    let info = json!({
        "backbone": backbone(&config)?,
        "normalize": {
            "mean": known("mean", json!([0.485, 0.456, 0.406])),
            "std": known("std", json!([0.229, 0.224, 0.225])),
        },
        "head": head(&config)?,
        "preprocessing": { "size": known("input_size", json!([3, 224, 224]))[1], "pixels": pixels },
    });
    serde_json::from_value(info).map_err(|error| error.to_string())
}

/// The backbone that timm makes by this name with these arguments.
fn backbone(config: &Value) -> Result<BackboneSpec, String> {
    let name = config["architecture"].as_str().ok_or("it has no `architecture`")?;
    let mut options = Map::new();
    let arguments = config["model_args"].as_object().into_iter().flatten();
    for (argument, value) in arguments.filter(|(argument, value)| !is_implied(argument, value)) {
        let option = ARGUMENTS.iter().find(|(known, _)| known == argument);
        let (_, option) =
            option.ok_or_else(|| format!("`model_args` has `{argument}`, which is unknown here"))?;
        options.insert((*option).to_owned(), side(value));
    }
    let spec = |kind: &&str| serde_json::from_value::<BackboneSpec>(json!({ (*kind): options })).ok();
    let is_meant = |spec: &BackboneSpec| spec.timm().is_some_and(|network| network.architecture == name);
    let found = BackboneSpec::KINDS.iter().filter_map(spec).find(is_meant);
    found.ok_or_else(|| format!("there is no backbone for timm's `{name}` with these `model_args`"))
}

/// Whether networks here are made with this argument anyway; a head with another pool has other tensors.
fn is_implied(argument: &str, value: &Value) -> bool {
    match argument {
        "num_classes" => true,
        "in_chans" => *value == 3,
        "global_pool" => *value == "avg" || *value == "token",
        _ => false,
    }
}

/// The number that stands for two equal ones.
fn side(value: &Value) -> Value {
    match value.as_array().map(Vec::as_slice) {
        Some([height, width]) if height == width => height.clone(),
        _ => value.clone(),
    }
}

/// Classes have numbers if they have no names; there is no head without classes.
fn head(config: &Value) -> Result<Value, String> {
    let count = config["num_classes"].as_u64().ok_or("it has no `num_classes`")?;
    let names = match &config["label_names"] {
        Value::Array(names) => names.clone(),
        Value::Null => (0..count.min(LARGEST)).map(|class| json!(class.to_string())).collect(),
        _ => return Err("`label_names` is not a list".into()),
    };
    if names.len() as u64 != count {
        return Err(format!("`num_classes` is {count}, but there are {} `label_names`", names.len()));
    }
    Ok(if count == 0 { Value::Null } else { json!({ "dataset": "", "classes": names }) })
}

/// The largest number of classes without names.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Value {
        json!({
            "architecture": "vit_tiny_patch16_224",
            "num_classes": 2,
            "model_args": { "img_size": [32, 32], "patch_size": 8, "num_classes": 2, "global_pool": "token" },
            "pretrained_cfg": {
                "input_size": [3, 32, 32], "crop_pct": 0.9, "interpolation": "bilinear",
                "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            },
        })
    }

    fn described(change: impl FnOnce(&mut Value)) -> Result<Value, String> {
        let mut config = config();
        change(&mut config);
        info(&config.to_string()).map(|info| json!(info))
    }

    #[test]
    fn a_model_of_timm_is_described_by_its_config() {
        let info = described(|_| {}).unwrap();
        assert_eq!(info["backbone"], json!({ "vit_tiny": { "image_size": 32, "patch_size": 8 } }));
        assert_eq!(info["head"]["classes"], json!(["0", "1"]));
        assert_eq!(
            info["preprocessing"],
            json!({ "size": 32, "pixels": { "crop_mode": "center", "crop_pct": 0.9 } })
        );
        let named = described(|config| config["label_names"] = json!(["a", "b"])).unwrap();
        assert_eq!(named["head"]["classes"], json!(["a", "b"]));
        assert_eq!(described(|config| config["num_classes"] = json!(0)).unwrap()["head"], Value::Null);
    }

    #[test]
    fn what_is_unknown_here_is_an_error() {
        let error = |change: &dyn Fn(&mut Value)| described(|config| change(config)).unwrap_err();
        assert!(error(&|config| config["architecture"] = json!("convnext_tiny")).contains("`convnext_tiny`"));
        assert!(error(&|config| config["architecture"] = json!("resnet18")).contains("these `model_args`"));
        assert!(error(&|config| config["model_args"]["in_chans"] = json!(1)).contains("`in_chans`"));
        assert!(error(&|config| config["label_names"] = json!(["a"])).contains("1 `label_names`"));
        assert!(
            error(&|config| config["pretrained_cfg"]["crop_mode"] = json!("border")).contains("mean color")
        );
        assert!(
            error(&|config| config["pretrained_cfg"]["interpolation"] = json!("nearest")).contains("nearest")
        );
        assert!(info("[]").is_err() && info("{").is_err());
    }
}
