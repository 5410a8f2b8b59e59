//! `medmerge show`: where things come from.

use std::fs;

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

/// The experiment with its merged model made, for one seed.
fn merged() -> Workplace {
    let workplace = Workplace::new(EXPERIMENT);
    let arguments = ["run", "experiment.toml", "--set", "sweep.seed=[0]", "--only", "merged"];
    workplace.medmerge(&arguments).assert().code(0);
    workplace
}

/// Of a stage, once it was made.
fn fingerprint(workplace: &Workplace, id: &str) -> String {
    let output =
        workplace.medmerge(&["plan", "experiment.toml", "--json", "--set", "sweep.seed=[0]"]).output();
    let plan: serde_json::Value = serde_json::from_slice(&output.expect("a plan").stdout).expect("JSON");
    let stages = plan["stages"].as_array().expect("stages").iter();
    let stage = stages.into_iter().find(|stage| stage["id"] == id).expect("a stage");
    stage["fingerprint"].as_str().expect("text").to_owned()
}

/// What it prints, with fingerprints in the order in which they first occur.
fn shown(workplace: &Workplace, arguments: &[&str]) -> String {
    let output = workplace.medmerge(&["show"]).args(arguments).output().expect("an answer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let is_short = |word: &&str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_short);
    let mut known: Vec<&str> = Vec::new();
    for word in words {
        if !known.contains(&word) {
            known.push(word);
        }
    }
    known.iter().enumerate().fold(text.clone(), |text, (i, word)| text.replace(word, &format!("#{i}")))
}

fn copied(workplace: &Workplace, fingerprint: &str, file: &str) {
    let entry = format!(".medmerge/store/{}/{fingerprint}/{file}", &fingerprint[..2]);
    fs::create_dir_all(workplace.path("elsewhere")).expect("a folder");
    fs::copy(workplace.path(&entry), workplace.path(&format!("elsewhere/{file}"))).expect("a file");
}

#[test]
fn an_entry_is_shown_with_all_that_it_comes_from() {
    let workplace = merged();
    let of_merged = fingerprint(&workplace, "merged[seed=0]");
    let tree = shown(&workplace, &[&of_merged[..8]]);
    let tree = tree.split("\n\n").next().expect("a tree");
    insta::assert_snapshot!(tree, @r#"
    merge #0  merged[seed=0]
    │  batch_norm = "reestimate", method.learned
    │  dataset: phantom #1  xray  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
    ├─ source.0: finetune #2  probe_a[seed=0]
    │  │  epochs = 1, optimizer.adamw.lr = 0.001, seed = 0, trainable = "head"
    │  │  dataset: phantom #1  xray  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
    │  └─ from: pretrain #3  source_a
    │        backbone.resnet18.stem = "small", backbone.resnet18.width = 16, epochs = 1, optimizer.adamw.lr = 0.001, seed = 7
    │        dataset: phantom #4  cells  family = "cells", seed = 0, size = 12, test = 16, train = 32, val = 16
    ├─ source.1: finetune #5  probe_b[seed=0]
    │  │  epochs = 1, optimizer.adamw.lr = 0.001, seed = 0, trainable = "head"
    │  │  dataset: phantom #1  xray  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
    │  └─ from: pretrain #6  source_b
    │        backbone.resnet18.stem = "small", backbone.resnet18.width = 16, epochs = 1, optimizer.adamw.lr = 0.001, seed = 8
    │        dataset: phantom #4  cells  family = "cells", seed = 0, size = 12, test = 16, train = 32, val = 16
    └─ weights: learn_merge_weights #7  weights[seed=0]
       │  anchor_weight = "learned", constraint = "none", granularity = "kernel", epochs = 1, optimizer.adamw.lr = 0.001, seed = 0
       │  dataset: phantom #1  xray  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
       ├─ source.0: finetune #2  probe_a[seed=0]  (see above)
       ├─ source.1: finetune #5  probe_b[seed=0]  (see above)
       └─ anchor: finetune #2  probe_a[seed=0]  (see above)
    "#);
    let all = shown(&workplace, &[&of_merged, "--all"]);
    assert!(
        all.contains("augment.crop_padding = 1") && all.contains("optimizer.adamw.betas = [0.9,0.999]"),
        "{all}"
    );

    let of_weights = fingerprint(&workplace, "weights[seed=0]");
    let weights = shown(&workplace, &[&of_weights]);
    let table: Vec<&str> = weights.lines().skip_while(|line| !line.starts_with("layer ")).collect();
    assert_eq!(
        table[0].split_whitespace().collect::<Vec<_>>(),
        ["layer", "kernels", "probe_a[seed=0]", "share", "probe_b[seed=0]", "share"]
    );
    assert_eq!(table.len(), 21, "a header and a line for each layer: {weights}");
    assert!(table[1].starts_with("conv1 ") && table[1].contains("100 %"), "{weights}");
}

#[test]
fn a_checkpoint_that_was_copied_tells_its_ancestry_without_the_store() {
    let workplace = merged();
    let of_merged = fingerprint(&workplace, "merged[seed=0]");
    copied(&workplace, &of_merged, "model.safetensors");
    let of_weights = fingerprint(&workplace, "weights[seed=0]");
    copied(&workplace, &of_weights, "merge_weights.safetensors");
    fs::rename(workplace.path(".medmerge"), workplace.path("gone")).expect("a store");
    insta::assert_snapshot!(shown(&workplace, &["elsewhere/model.safetensors"]), @r#"
    merge #0
    │  batch_norm = "reestimate", method.learned
    │  dataset: phantom #1  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
    ├─ source.0: finetune #2
    │  │  epochs = 1, optimizer.adamw.lr = 0.001, seed = 0, trainable = "head"
    │  │  dataset: phantom #1  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
    │  └─ from: pretrain #3
    │        backbone.resnet18.stem = "small", backbone.resnet18.width = 16, epochs = 1, optimizer.adamw.lr = 0.001, seed = 7
    │        dataset: phantom #4  family = "cells", seed = 0, size = 12, test = 16, train = 32, val = 16
    ├─ source.1: finetune #5
    │  │  epochs = 1, optimizer.adamw.lr = 0.001, seed = 0, trainable = "head"
    │  │  dataset: phantom #1  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
    │  └─ from: pretrain #6
    │        backbone.resnet18.stem = "small", backbone.resnet18.width = 16, epochs = 1, optimizer.adamw.lr = 0.001, seed = 8
    │        dataset: phantom #4  family = "cells", seed = 0, size = 12, test = 16, train = 32, val = 16
    └─ weights: learn_merge_weights #7
       │  anchor_weight = "learned", constraint = "none", granularity = "kernel", epochs = 1, optimizer.adamw.lr = 0.001, seed = 0
       │  dataset: phantom #1  family = "xray", seed = 0, size = 12, test = 16, train = 32, val = 16
       ├─ source.0: finetune #2  (see above)
       ├─ source.1: finetune #5  (see above)
       └─ anchor: finetune #2  (see above)

    images: size = 12, pixels = {}
    file: elsewhere/model.safetensors
    not torchvision's standard resnet18, which refuses these tensors: small stem, width 16
    in PyTorch:
      import torch, torchvision
      from safetensors.torch import load_file
      model = torchvision.models.resnet18(num_classes=3)
      model.inplanes, block = 16, type(model.layer1[0])
      model.conv1 = torch.nn.Conv2d(3, 16, 7, 2, 3, bias=False)
      model.bn1 = torch.nn.BatchNorm2d(16)
      for i in range(4):
          name = f"layer{i + 1}"
          depth, stride = len(getattr(model, name)), min(i, 1) + 1
          setattr(model, name, model._make_layer(block, 16 << i, depth, stride))
      model.fc = torch.nn.Linear(128 * block.expansion, 3)
      model.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
      model.maxpool = torch.nn.Identity()
      model.load_state_dict(load_file("elsewhere/model.safetensors"))
    as a folder for PyTorch, with a model card: medmerge export elsewhere/model.safetensors --to pytorch FOLDER

    tensors: 122, elements: 702983; --all lists them
    "#);
    assert!(!workplace.path(".medmerge").exists(), "nothing was made to look at a file");
    let weights = shown(&workplace, &["elsewhere/merge_weights.safetensors"]);
    assert!(weights.contains("layer4.1.conv2") && weights.contains("source.1"), "{weights}");

    let output =
        workplace.medmerge(&["show", "elsewhere/model.safetensors", "--json"]).output().expect("JSON");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["fingerprint"], of_merged.as_str());
    let origins = json["origins"].as_array().expect("origins");
    assert_eq!(origins.len(), 8, "six stages and two data sets");
    assert!(origins.iter().all(|origin| origin["whole"] == true), "{json:#}");
    let metadata = fs::metadata(workplace.path("elsewhere/model.safetensors")).expect("a file");
    let said = serde_json::to_string(&json["origins"]).expect("text").len() as u64;
    assert!(said < metadata.len() / 50, "{said} of {} bytes", metadata.len());
}

/// What an earlier version of medmerge wrote, and what others write.
#[test]
fn a_file_that_says_less_is_shown_as_far_as_it_goes() {
    use medmerge::store::checkpoint;
    use std::collections::HashMap;
    let workplace = Workplace::new("");
    let tensor = candle_core::Tensor::new(&[1f32, 2.0], &candle_core::Device::Cpu).expect("a tensor");
    let save = |name: &str, metadata: &[(&str, &str)]| {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let tensors = [("fc.bias".to_string(), tensor.clone())].into();
        checkpoint::save(&tensors, metadata, &workplace.path(name)).expect("a file");
    };
    save("other.safetensors", &[("format", "pt")]);
    insta::assert_snapshot!(shown(&workplace, &["other.safetensors", "--all"]), @r#"
    this file was not written by medmerge; its origin is unknown
    format: pt

    tensors: 1, elements: 2
    fc.bias  F32 [2]
    "#);
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let info = "{\"backbone\":{\"resnet18\":{}},\"normalize\":{\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},\"head\":null}";
    let says = format!(
        "{{\"version\":\"0.1.0\",\"kind\":\"merge\",\"fingerprint\":\"{a}\",\"info\":{info},\
         \"inputs\":[[\"source.0\",\"{a}\"],[\"source.1\",\"{b}\"]]}}"
    );
    save("old.safetensors", &[(checkpoint::KEY, &says)]);
    insta::assert_snapshot!(shown(&workplace, &["old.safetensors"]), @r#"
    merge #0  (options unknown)
    ├─ source.0: merge #0  (see above)
    └─ source.1: #1  (unknown)

    images: pixels = {}
    file: old.safetensors
    in PyTorch:
      import torch, torchvision
      from safetensors.torch import load_file
      model = torchvision.models.resnet18()
      model.fc = torch.nn.Identity()
      model.load_state_dict(load_file("old.safetensors"))
      model.eval()
      mean, std = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
      # input: (RGB / 255 - mean) / std
    as a folder for timm, with a model card: medmerge export old.safetensors --to timm FOLDER

    tensors: 1, elements: 2; --all lists them
    "#);
    save("evil.safetensors", &[(checkpoint::KEY, &says.replace(&b, "../../precious"))]);
    let assert = workplace.medmerge(&["show", "evil.safetensors"]).assert().code(4);
    assert.stderr(contains("\"../../precious\" is not a fingerprint"));
    save("broken.safetensors", &[(checkpoint::KEY, "{}")]);
    let assert = workplace.medmerge(&["show", "broken.safetensors"]).assert().code(4);
    assert.stderr(contains("broken.safetensors").and(contains("missing field")));
}
