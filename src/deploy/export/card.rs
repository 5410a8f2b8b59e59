//! `README.md`: the model card, with YAML front matter as hubs expect it.

use serde_json::json;

use super::scores::Scored;
use super::{Export, Format};
use crate::dataset::Labeling;
use crate::stage::ModelInfo;

/// The text of the card.
pub fn card(export: &Export) -> String {
    let sections = [
        front_matter(export.format).to_owned(),
        about(export),
        usage(export),
        input(export),
        origin(export),
        scores(&export.scores),
        LICENSE.to_owned(),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn front_matter(format: Format) -> &'static str {
    match format {
        Format::Timm => {
            "---\nlicense: other\nlicense_name: to-be-filled-in\nlibrary_name: timm\npipeline_tag: image-classification\n\
             tags:\n- image-classification\n- timm\n- medical-imaging\n- medmerge\n---\n"
        }
        Format::Pytorch => {
            "---\nlicense: other\nlicense_name: to-be-filled-in\nlibrary_name: pytorch\npipeline_tag: \
             image-classification\ntags:\n- image-classification\n- medical-imaging\n- medmerge\n---\n"
        }
    }
}

fn about(export: &Export) -> String {
    let info = &export.source.model.info;
    let title = export.source.stage().map_or_else(|| info.backbone.kind().to_owned(), markdown);
    let classes = match info.classes() {
        [] => "It has no classifier: it computes features.".to_owned(),
        classes if info.labeling().is_single_label() => {
            format!("It distinguishes {} classes: {}.", classes.len(), list(classes))
        }
        classes => {
            format!("It gives the probability of each of {} findings: {}.", classes.len(), list(classes))
        }
    };
    format!(
        "# {title}\n\nA {} for medical images, made with medmerge {}. {classes}\n\n\
         It is for research and is not a medical device. *To be filled in: what it is meant for, and where it fails.*\n",
        info.backbone,
        env!("CARGO_PKG_VERSION")
    )
}

fn usage(export: &Export) -> String {
    let python = match export.format {
        Format::Timm => TIMM,
        Format::Pytorch => PYTORCH,
    };
    let predict = match export.source.model.info.classes() {
        [] => "",
        _ => {
            "\nPredictions of many images, without Python:\n\n```sh\nmedmerge predict FOLDER images/ --out predictions.csv\n```\n"
        }
    };
    let python = match export.source.model.info.labeling() {
        Labeling::SingleLabel => python.to_owned(),
        Labeling::MultiLabel => python.replace(".softmax(1)", ".sigmoid()"),
    };
    format!("## Use\n\n```python\n{python}```\n{predict}")
}

const TIMM: &str = r#"import timm, torch
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
image = transform(Image.open("image.png").convert("RGB")).unsqueeze(0)
with torch.no_grad():
    probabilities = model(image).softmax(1)
"#;

const PYTORCH: &str = r#"import torch
from PIL import Image
from model import CLASSES, load, transform    # model.py of this folder

with torch.no_grad():
    probabilities = load()(transform(Image.open("image.png")).unsqueeze(0)).softmax(1)
"#;

fn input(export: &Export) -> String {
    let ModelInfo { normalize, .. } = &export.source.model.info;
    let (size, pixels) = (export.input.size, &export.input.pixels);
    let caveats: String = export.caveats().iter().map(|caveat| format!("- {caveat}\n")).collect();
    format!(
        "## Input\n\n- RGB images, made squares of {size} x {size} pixels by `crop_mode = {}`, `crop_pct = {}`, \
         `interpolation = {}`\n- normalized by mean {:?} and standard deviation {:?}\n{caveats}",
        json!(pixels.crop_mode),
        json!(pixels.crop_pct),
        json!(pixels.interpolation),
        normalize.mean,
        normalize.std
    )
}

fn origin(export: &Export) -> String {
    let Some(lineage) = &export.source.lineage else {
        return "## Origin\n\n*To be filled in: nothing is known of it.*\n".to_owned();
    };
    let datasets = lineage.known.values().flat_map(|origin| origin.datasets());
    let names =
        datasets.flat_map(|(_, dataset)| lineage.known.get(&dataset).map(|origin| origin.names.clone()));
    let mut names: Vec<String> = names.flatten().collect();
    names.sort();
    names.dedup();
    let datasets = match names.is_empty() {
        true => String::new(),
        false => format!("\nData sets: {}. *To be filled in: their sources and terms.*\n", list(&names)),
    };
    format!(
        "## Origin\n\nEach stage with its inputs below it, as `medmerge show` prints it:\n\n```text\n{}```\n\n\
         Fingerprint: `{}`\n{datasets}",
        lineage.tree(false),
        lineage.root
    )
}

/// One row per data set and split; empty without scores.
fn scores(scores: &[Scored]) -> String {
    let Some(first) = scores.first() else { return String::new() };
    let titles: String = first.values.iter().map(|(title, _)| format!(" {title} |")).collect();
    let rule = " --- |".repeat(first.values.len());
    let value = |value: &Option<f64>| value.map_or_else(|| " |".to_owned(), |value| format!(" {value:.3} |"));
    let row = |scored: &Scored| {
        let values: String = scored.values.iter().map(|(_, score)| value(score)).collect();
        let Scored { dataset, split, images, .. } = scored;
        format!("| {} | {split} | {images} |{values}\n", markdown(dataset))
    };
    let rows: String = scores.iter().map(row).collect();
    format!("## Scores\n\n| data set | split | images |{titles}\n| --- | --- | --- |{rule}\n{rows}")
}

const LICENSE: &str = "## License\n\n*To be filled in: the license of the weights. The terms of the data sets and of \
                       pretrained checkpoints that they come from may restrict it.*\n";

/// Names as code, since they may have commas.
fn list(names: &[String]) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let code = |name: &String| format!("`{}`", name.replace('`', "'").chars().map(plain).collect::<String>());
    names.iter().map(code).collect::<Vec<_>>().join(", ")
}

/// Text without meaning for Markdown, on one line.
fn markdown(text: &str) -> String {
    let escaped = |c: char| match c {
        '\\' | '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '|' | '~' | '$' => format!("\\{c}"),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_meaning_for_markdown() {
        assert_eq!(markdown("final[seed=0] a|b\nc"), "final\\[seed=0\\] a\\|b c");
    }

    #[test]
    fn scores_are_a_table_with_gaps_where_undefined() {
        let scored = Scored {
            dataset: "retina".into(),
            split: "test".into(),
            images: 400,
            values: vec![("Accuracy", Some(0.52345)), ("AUROC", None)],
        };
        assert_eq!(
            scores(&[scored]),
            "## Scores\n\n| data set | split | images | Accuracy | AUROC |\n| --- | --- | --- | --- | --- |\n\
             | retina | test | 400 | 0.523 | |\n"
        );
        assert_eq!(scores(&[]), "");
    }
}
