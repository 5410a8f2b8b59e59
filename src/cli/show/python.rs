//! Lines of Python that load a model, with what it expects and what it answers.

use std::path::Path;

use crate::dataset::Labeling;
use crate::deploy::export::pytorch::list;
use crate::kind::text::{python, shell};
use crate::nn::Normalize;
use crate::stage::ModelInfo;

/// The file of a model, and how to load and use it in PyTorch.
pub(super) fn lines(path: &Path, info: &ModelInfo) -> Vec<String> {
    let classes = info.classes();
    let path = path.display().to_string();
    let mut lines = vec![format!("file: {path}")];
    lines.extend(info.backbone.refusal());
    lines.extend([
        "in PyTorch:".into(),
        format!("  import torch, {}", info.backbone.library()),
        "  from safetensors.torch import load_file".into(),
    ]);
    lines.extend(info.backbone.python(classes.len()).into_iter().map(|line| format!("  {line}")));
    let Normalize { mean, std } = info.normalize;
    lines.extend([
        format!("  model.load_state_dict(load_file({}))", python(&path)),
        "  model.eval()".into(),
        format!("  mean, std = {mean:?}, {std:?}"),
    ]);
    let names = (!classes.is_empty()).then(|| format!("  classes = {}", list(classes)));
    let output = match (&names, info.labeling()) {
        (None, _) => "",
        (Some(_), Labeling::SingleLabel) => "; output: logits of classes",
        (Some(_), Labeling::MultiLabel) => "; output: logits of classes, for a sigmoid each (multi-label)",
    };
    lines.extend(names);
    lines.push(format!("  # input: (RGB / 255 - mean) / std{output}"));
    let (to, what) = match info.backbone.timm() {
        Some(_) => ("timm", "timm"),
        None => ("pytorch", "PyTorch"),
    };
    let path = shell(&path);
    lines.push(format!("as a folder for {what}, with a model card: medmerge export {path} --to {to} FOLDER"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(backbone: &str, classes: &[&str]) -> String {
        shown_of("a.safetensors", backbone, classes)
    }

    fn shown_of(path: &str, backbone: &str, classes: &[&str]) -> String {
        let head = match classes {
            [] => serde_json::Value::Null,
            classes => serde_json::json!({ "dataset": "", "classes": classes }),
        };
        let backbone: serde_json::Value = serde_json::from_str(backbone).unwrap();
        let normalize = serde_json::json!({ "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5] });
        let info = serde_json::json!({ "backbone": backbone, "normalize": normalize, "head": head });
        lines(Path::new(path), &serde_json::from_value(info).unwrap()).join("\n")
    }

    #[test]
    fn f07_a_model_is_loaded_by_the_library_of_its_names() {
        let text = shown(r#"{"resnet18": {}}"#, &["a", "b"]);
        assert!(
            text.starts_with("file: a.safetensors\nin PyTorch:\n  import torch, torchvision\n"),
            "{text}"
        );
        assert!(text.contains("torchvision.models.resnet18(num_classes=2)"), "{text}");
        let end = r#"
  model.load_state_dict(load_file("a.safetensors"))
  model.eval()
  mean, std = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
  classes = ["a", "b"]
  # input: (RGB / 255 - mean) / std; output: logits of classes
as a folder for timm, with a model card: medmerge export a.safetensors --to timm FOLDER"#;
        assert!(text.ends_with(end), "{text}");
        let text = shown(r#"{"vit_tiny": {"image_size": 32, "patch_size": 8}}"#, &[]);
        assert!(
            text.contains("(\"vit_tiny_patch16_224\", img_size=32, patch_size=8, num_classes=0)"),
            "{text}"
        );
        let text = shown(r#"{"densenet121": {"growth": 8}}"#, &["a"]);
        assert!(text.contains("DenseNet(8, (6, 12, 24, 16), 16, num_classes=1)"), "{text}");
    }

    #[test]
    fn f24_names_of_classes_and_files_are_strings_of_python() {
        let text = shown(r#"{"resnet18": {}}"#, &["\"a\"", "b\\c\n"]);
        assert!(text.contains(r#"classes = ["\"a\"", "b\\c\n"]"#), "{text}");
        let text = shown(r#"{"resnet18": {}}"#, &[]);
        assert!(text.contains("/ std\n") && !text.contains("classes ="), "{text}");
    }

    #[test]
    fn paths_with_blanks_and_quotes_are_strings_of_python_and_words_of_a_shell() {
        let text = shown_of("my \"best\" model's.safetensors", r#"{"resnet18": {}}"#, &[]);
        assert!(text.contains(r#"load_file("my \"best\" model's.safetensors"))"#), "{text}");
        let word = r#"medmerge export 'my "best" model'\''s.safetensors' --to timm FOLDER"#;
        assert!(text.contains(word), "{text}");
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
