//! `config.json` as timm's `save_for_hf` writes it, for timm 1.0.

use serde_json::{Map, Value, json};

use crate::deploy::source::Input;
use crate::error::Error;
use crate::stage::ModelInfo;

/// The content of `config.json`.
///
/// # Errors
/// timm does not have the network.
pub fn config(info: &ModelInfo, input: &Input) -> Result<String, Error> {
    let missing = || {
        Error::Usage(format!(
            "timm has no {}; export it with --to pytorch, which writes the network in Python, too",
            info.backbone
        ))
    };
    let network = info.backbone.timm().ok_or_else(missing)?;
    let (backbone, classes) = (info.backbone.build(), info.classes());
    let sizes = backbone.image_sizes();
    let mut config = json!({
        "architecture": network.architecture,
        "num_classes": classes.len(),
        "num_features": backbone.feature_size(),
        "pretrained_cfg": {
            "custom_load": false,
            "input_size": [3, input.size, input.size],
            "fixed_input_size": sizes.start() == sizes.end(),
            "interpolation": input.pixels.interpolation,
            "crop_pct": input.pixels.crop_pct,
            "crop_mode": input.pixels.crop_mode,
            "mean": info.normalize.mean.map(shortest),
            "std": info.normalize.std.map(shortest),
            "num_classes": classes.len(),
            "first_conv": network.first_conv,
            "classifier": backbone.head_name(),
            "license": "other",
        },
    });
    if !classes.is_empty() {
        config["label_names"] = json!(classes);
        config["label_descriptions"] = classes.iter().map(|class| (class.clone(), json!(class))).collect();
    }
    if !network.arguments.is_empty() {
        let arguments = network.arguments.into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
        config["model_args"] = Value::Object(arguments.collect::<Map<_, _>>());
    }
    Ok(serde_json::to_string_pretty(&config).expect("JSON values are text") + "\n")
}

/// The number with the fewest digits that is rounded to this one: 0.485, not 0.48500001.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().expect("a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_of(backbone: &str) -> Result<Value, Error> {
        let backbone: Value = serde_json::from_str(backbone).unwrap();
        let info = json!({
            "backbone": backbone,
            "normalize": { "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225] },
            "head": { "dataset": "", "classes": ["a", "b"] },
        });
        let input = Input { size: 32, pixels: Default::default() };
        config(&serde_json::from_value(info).unwrap(), &input)
            .map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_network_has_its_name_and_arguments_in_timm() {
        let standard = config_of(r#"{"resnet18": {}}"#).unwrap();
        assert_eq!(standard["architecture"], "resnet18");
        assert_eq!(standard["model_args"], Value::Null);
        let cfg = &standard["pretrained_cfg"];
        assert_eq!(cfg["input_size"], json!([3, 32, 32]));
        assert_eq!(cfg["mean"].to_string(), "[0.485,0.456,0.406]");
        assert_eq!((&cfg["crop_mode"], &cfg["interpolation"]), (&json!("squash"), &json!("bilinear")));
        assert_eq!((&cfg["first_conv"], &cfg["classifier"]), (&json!("conv1"), &json!("fc")));
        assert_eq!(standard["label_names"], json!(["a", "b"]));
        let vit = config_of(r#"{"vit_tiny": {"image_size": 32, "patch_size": 8}}"#).unwrap();
        assert_eq!(vit["architecture"], "vit_tiny_patch16_224");
        assert_eq!(vit["model_args"], json!({ "img_size": 32, "patch_size": 8 }));
        assert_eq!(vit["pretrained_cfg"]["fixed_input_size"], true);
        let dense = config_of(r#"{"densenet121": {"growth": 8}}"#).unwrap();
        assert_eq!(dense["model_args"], json!({ "growth_rate": 8 }));
        let error = config_of(r#"{"resnet18": {"stem": "small"}}"#).unwrap_err().to_string();
        assert!(
            error.contains("timm has no resnet18 (small stem, width 64); export it with --to pytorch"),
            "{error}"
        );
    }
}
