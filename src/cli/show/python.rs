//! Lines of Python that load a model.

use std::path::Path;

use crate::stage::ModelInfo;

/// The file of a model, and how to load it in PyTorch.
pub(super) fn lines(path: &Path, info: &ModelInfo) -> Vec<String> {
    let classes = info.head.as_ref().map_or(0, |head| head.classes.len());
    let path = path.display();
    let mut lines = vec![format!("file: {path}")];
    lines.extend(info.backbone.refusal());
    lines.extend([
        "in PyTorch:".into(),
        format!("  import torch, {}", info.backbone.library()),
        "  from safetensors.torch import load_file".into(),
    ]);
    lines.extend(info.backbone.python(classes).into_iter().map(|line| format!("  {line}")));
    lines.push(format!("  model.load_state_dict(load_file(\"{path}\"))"));
    let (to, what) = match info.backbone.timm() {
        Some(_) => ("timm", "timm"),
        None => ("pytorch", "PyTorch"),
    };
    lines.push(format!("as a folder for {what}, with a model card: medmerge export {path} --to {to} FOLDER"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(backbone: &str, classes: &[&str]) -> String {
        let head = match classes {
            [] => serde_json::Value::Null,
            classes => serde_json::json!({ "dataset": "", "classes": classes }),
        };
        let backbone: serde_json::Value = serde_json::from_str(backbone).unwrap();
        let normalize = serde_json::json!({ "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5] });
        let info = serde_json::json!({ "backbone": backbone, "normalize": normalize, "head": head });
        lines(Path::new("a.safetensors"), &serde_json::from_value(info).unwrap()).join("\n")
    }

    #[test]
    fn f07_a_model_is_loaded_by_the_library_of_its_names() {
        let text = shown(r#"{"resnet18": {}}"#, &["a", "b"]);
        assert!(
            text.starts_with("file: a.safetensors\nin PyTorch:\n  import torch, torchvision\n"),
            "{text}"
        );
        assert!(text.contains("torchvision.models.resnet18(num_classes=2)"), "{text}");
        assert!(text.contains("model.load_state_dict(load_file(\"a.safetensors\"))\n"), "{text}");
        assert!(text.ends_with("medmerge export a.safetensors --to timm FOLDER"), "{text}");
        let text = shown(r#"{"vit_tiny": {"image_size": 32, "patch_size": 8}}"#, &[]);
        assert!(
            text.contains("(\"vit_tiny_patch16_224\", img_size=32, patch_size=8, num_classes=0)"),
            "{text}"
        );
        let text = shown(r#"{"densenet121": {"growth": 8}}"#, &["a"]);
        assert!(text.contains("DenseNet(8, (6, 12, 24, 16), 16, num_classes=1)"), "{text}");
    }

    #[test]
    fn f07_what_a_library_lacks_is_made() {
        let text = shown(r#"{"resnet18": {"stem": "small"}}"#, &[]);
        assert!(text.contains("model.maxpool = torch.nn.Identity()"), "{text}");
        assert!(text.contains("model.fc = torch.nn.Identity()"), "{text}");
        let text = shown(r#"{"resnet18": {"stem": "small", "width": 16}}"#, &["a"]);
        let order = [
            "setattr(model, name, model._make_layer(block, 16 << i, depth, stride))",
            "model.fc = torch.nn.Linear(128 * block.expansion, 1)",
            "model.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)",
            "load_state_dict",
        ];
        let places: Vec<_> = order.iter().map(|line| text.find(line)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
        assert!(text.ends_with("--to pytorch FOLDER"), "{text}");
    }
}
