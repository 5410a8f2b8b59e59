//! `model.py`: makes the network and loads it with PyTorch.

use crate::dataset::Labeling;
use crate::dataset::pixels::{CropMode, Interpolation};
use crate::deploy::source::Input;
use crate::kind::text::python;
use crate::stage::ModelInfo;

const MODULE: &str = r#""""A {backbone}, exported by medmerge.

In another program:   from model import CLASSES, load, transform
On the command line:  python model.py IMAGE...    prints the probabilities of the classes

Needs {needs}, safetensors and pillow.
"""

import csv
import sys
from pathlib import Path

import torch
import {library}
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torchvision import transforms

CLASSES = {classes}

transform = transforms.Compose([
    ImageOps.exif_transpose,
    transforms.Lambda(lambda image: image.convert("RGB")),
{resize}    transforms.ToTensor(),
    transforms.Normalize({mean}, {std}),
])


def load(path=Path(__file__).with_name("model.safetensors")):
    """The model, ready to predict logits from images [n, 3, {size}, {size}]."""
{network}    model.load_state_dict(load_file(path), strict=True)
    return model.eval()


def main(paths):
    model = load()
    rows = csv.writer(sys.stdout)
    rows.writerow(["image", *(f"p_{name}" for name in CLASSES)])
    for path in paths:
        with torch.no_grad():
            logits = model(transform(Image.open(path)).unsqueeze(0))
        rows.writerow([path, *logits.{activation}[0].tolist()])


if __name__ == "__main__":
    main(sys.argv[1:])
"#;

/// The content of `model.py`.
pub fn module(info: &ModelInfo, input: &Input) -> String {
    let classes = info.classes();
    let network = info.backbone.python(classes.len());
    let values = [
        ("{backbone}", info.backbone.to_string()),
        ("{needs}", needs(info.backbone.library())),
        ("{library}", info.backbone.library().to_owned()),
        ("{classes}", list(classes)),
        ("{resize}", indented(&resize(input))),
        ("{mean}", format!("{:?}", info.normalize.mean)),
        ("{std}", format!("{:?}", info.normalize.std)),
        ("{size}", input.size.to_string()),
        ("{network}", indented(&network)),
        ("{activation}", activation(info.labeling()).to_owned()),
    ];
    // Class names come last: they may look like a placeholder.
    let (first, last): (Vec<_>, Vec<_>) = values.into_iter().partition(|(name, _)| *name != "{classes}");
    first.into_iter().chain(last).fold(MODULE.to_owned(), |text, (name, value)| text.replace(name, &value))
}

/// From logits to probabilities.
fn activation(labeling: Labeling) -> &'static str {
    match labeling {
        Labeling::SingleLabel => "softmax(1)",
        Labeling::MultiLabel => "sigmoid()",
    }
}

fn needs(library: &str) -> String {
    match library {
        "torchvision" => "torch, torchvision".to_owned(),
        other => format!("torch, torchvision, {other}"),
    }
}

/// A list of strings in Python, where a string of JSON is one.
pub fn list(strings: &[String]) -> String {
    let literals: Vec<String> = strings.iter().map(|string| python(string)).collect();
    format!("[{}]", literals.join(", "))
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

/// Lines of a list of transforms that make an image a square.
fn resize(input: &Input) -> Vec<String> {
    let (size, full) = (input.size, input.full());
    let filter = match input.pixels.interpolation {
        Interpolation::Bilinear => "BILINEAR",
        Interpolation::Bicubic => "BICUBIC",
    };
    let resize = |to: String| format!("transforms.Resize({to}, transforms.InterpolationMode.{filter}),");
    let first = match input.pixels.crop_mode {
        CropMode::Squash => resize(format!("({full}, {full})")),
        CropMode::Center => resize(full.to_string()),
        CropMode::Border => format!(
            "transforms.Lambda(lambda image: image.resize([max(1, round(side / (max(image.size) / {full}))) for side in \
             image.size], Image.Resampling.{filter})),"
        ),
    };
    let crops = input.pixels.crop_mode != CropMode::Squash || full != size;
    let crop = crops.then(|| format!("transforms.CenterCrop({size}),"));
    [first].into_iter().chain(crop).collect()
}
