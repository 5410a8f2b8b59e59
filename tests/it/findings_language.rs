//! Errors found before anything runs, and what `check` and `plan` say.

use crate::builder::{EXPERIMENT, Workplace};

/// The experiment of [`EXPERIMENT`] with another table or figure at its end.
fn with(section: &str) -> Workplace {
    Workplace::new(&format!("{EXPERIMENT}\n{section}"))
}

/// The exit code and stderr of a command.
fn ended(workplace: &Workplace, arguments: &[&str]) -> (Option<i32>, String) {
    let output = workplace.medmerge(arguments).output().expect("failed to run the program");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The error of `check`, which is that of `plan` too and leaves the store empty.
fn refused(workplace: &Workplace) -> String {
    let (code, error) = ended(workplace, &["check", "experiment.toml"]);
    assert_eq!(code, Some(2), "{error}");
    assert_eq!(ended(workplace, &["plan", "experiment.toml"]), (code, error.clone()));
    error
}

#[test]
fn f01_a_table_that_leaves_out_an_axis_is_refused_before_anything_runs() {
    let table = "[table.lost]\nfrom = ['scores']\nmetrics = ['accuracy']\nover = 'dataset'\n";
    let error = refused(&with(table));
    insta::assert_snapshot!(error);
}

#[test]
fn f01_a_table_or_figure_must_not_name_an_axis_that_its_stages_lack() {
    let text = EXPERIMENT
        .replace("seed = [0, 1]", "seed = [0, 1]\nfixed = [3]")
        .replace("seed = 7", "seed = '${fixed}'");
    let text = text
        .replace("models = {", "models = { \"b\" = \"probe_b\" } #")
        .replace("from = [\"scores\"]", "from = [\"scores\"]\nrows = \"fixed\"");
    let error = refused(&Workplace::new(&text));
    assert!(error.contains("`rows` names the axis `fixed`, but no stage in `from` depends on it"), "{error}");
}

#[test]
fn f01_a_figure_that_pools_other_layers_is_refused_before_anything_runs() {
    let text = EXPERIMENT.replace("seed = [0, 1]", "seed = [0, 1]\nwidth = [8, 16]");
    let text = text
        .replace("width = 16", "width = \"${width}\"")
        .replace("[table.main]", "[table.main]\ncolumns = [\"width\", \"metric\"]");
    let figure = "[figure.pooled.layers]\nfrom = ['weights']\nover = 'width'\n";
    assert_eq!(ended(&Workplace::new(&text), &["check", "experiment.toml"]).0, Some(0));
    let error = refused(&Workplace::new(&format!("{text}\n{figure}")));
    assert!(
        error.contains("have different layers, so their weights cannot be pooled over `width`"),
        "{error}"
    );
    assert!(error.contains("[figure.pooled.layers]"), "{error}");
}

#[test]
fn f01_a_table_cannot_have_the_name_of_the_file_of_scores() {
    let error = refused(&with("[table.metrics]\nfrom = ['scores']\nmetrics = ['accuracy']\n"));
    assert!(error.contains("metrics.csv is the file of scores"), "{error}");
}

#[test]
fn f01_check_opens_imported_checkpoints() {
    let import = "[stage.imported.import]\npath = 'model.safetensors'\nbackbone.resnet18 = { stem = 'small', width = 16 }\n";
    let header = r#"{"conv1.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
    let workplace = with(import).with("model.safetensors", file);
    let (code, error) = ended(&workplace, &["check", "experiment.toml"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("stage `imported`: its tensors do not match"), "{error}");
    assert!(error.contains("`conv1.weight` has shape [1], expected [16, 3, 3, 3]"), "{error}");
}

#[test]
fn f01_check_reads_the_headers_of_images() {
    let data = "[dataset.files.manifest]\npath = 'labels.csv'\nsize = 12\n\
        [stage.extra.pretrain]\nbackbone = 'resnet18'\ndataset = 'files'\n";
    let rows: String = ["train", "val", "test"]
        .into_iter()
        .flat_map(|split| ["a", "b"].map(|class| format!("{split}_{class}.png,{class},{split}\n")))
        .collect();
    let mut workplace = with(data).with("labels.csv", format!("image,label,split\n{rows}"));
    for name in ["train_a", "train_b", "val_a", "val_b", "test_a", "test_b"] {
        workplace = workplace.with(&format!("{name}.png"), "no image");
    }
    let (code, error) = ended(&workplace, &["check", "experiment.toml"]);
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("labels.csv, row ") && error.contains(".png cannot be decoded"), "{error}");
}

#[test]
fn f01_the_last_line_is_written_even_if_the_results_cannot_be() {
    let folder_in_place_of_the_file = "results/tiny/metrics.csv/file";
    let workplace = Workplace::new(EXPERIMENT).with(folder_in_place_of_the_file, "");
    let (code, error) = ended(&workplace, &["run", "experiment.toml", "--set", "sweep.seed=[0]"]);
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("error: "), "{error}");
    assert!(
        error.lines().last().is_some_and(|last| last.starts_with("executed 9, fresh 0, failed 0")),
        "{error}"
    );
}

#[test]
fn f12_check_and_plan_say_which_stages_each_axis_multiplies() {
    let text = EXPERIMENT.replace("seed = [0, 1]", "seed = [0, 1]\nlr = [0.1, 0.01, 0.001]");
    let text = text.replace("epochs = 1", "epochs = 1\noptimizer.adamw.lr = \"${lr}\"");
    let text = text.replace("[table.main]", "[table.main]\ncolumns = [\"lr\", \"metric\"]");
    let workplace = Workplace::new(&text);
    for command in ["check", "plan"] {
        let output =
            workplace.medmerge(&[command, "experiment.toml"]).output().expect("failed to run the program");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = out.lines().filter(|line| line.starts_with("  axis ")).collect();
        let all = "source_a, source_b, probe_a, probe_b, weights, merged, average, final, and 1 more";
        assert_eq!(
            lines,
            [
                "  axis seed, 2 values: multiplies 7 of 9 stages, which gives 42: \
                 probe_a, probe_b, weights, merged, average, final, scores",
                &format!("  axis lr, 3 values: multiplies 9 of 9 stages, which gives 48: {all}"),
            ],
            "{command}: {out}"
        );
    }
}

/// The errors of an experiment with this text in place of `old`.
fn errors(old: &str, new: &str) -> String {
    assert!(EXPERIMENT.contains(old), "{old}");
    let workplace = Workplace::new(&EXPERIMENT.replacen(old, new, 1));
    let (code, error) = ended(&workplace, &["check", "experiment.toml"]);
    assert!([Some(2), Some(3)].contains(&code), "{error}");
    error
}

#[test]
fn f04_an_unclosed_bracket_is_one_error_at_the_bracket() {
    insta::assert_snapshot!(errors("seed = [0, 1]", "seed = [0, 1"));
}

#[test]
fn f04_a_message_says_where_a_key_goes_and_what_is_accepted() {
    let import = "[stage.imported.import]\npath = '.'\nbackbone = 'resnet18'\nhead = 'keep'\n\n[table.main]";
    insta::assert_snapshot!(
        [
            errors("epochs = 1", "epochs = 1\noptimizer = { name = 'adamw', lr = 0.1 }"),
            errors("epochs = 1", "epochs = 1\noptimizer = { lr = 0.1 }"),
            errors("epochs = 1", "epochs = 1\noptimizer = 'adamw'\nlr = 0.1"),
            errors("seed = 7", "seed = 7\nmomentum = 0.9"),
            errors("[table.main]", import),
        ]
        .join("\n")
    );
}

#[test]
fn f04_a_path_may_start_at_home() {
    let import = "[stage.imported.import]\npath = '~/model.pth'\nbackbone = 'resnet18'\n";
    let workplace = with(import);
    let mut command = workplace.medmerge(&["check", "experiment.toml"]);
    let output = command.env("HOME", workplace.path("")).output().expect("failed to run the program");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let path = workplace.path("model.pth");
    assert!(error.contains(&format!("no such file: {}", path.display())), "{error}");
}

#[test]
fn f04_the_padding_of_a_crop_is_smaller_than_the_image() {
    let error = errors("padding = 1", "padding = 12");
    let wanted = "`crop.padding` is 12, but the images have a side of 12 pixels; set it below 12";
    assert!(error.contains(wanted), "{error}");
}

#[test]
fn f20_stages_are_limited_and_not_only_combinations_of_axes() {
    let values: Vec<String> = (2..302).map(|value| value.to_string()).collect();
    let axes = format!("seed = [{0}]\nwidth = [{0}]", values.join(", "));
    let text = EXPERIMENT.replace("seed = [0, 1]", &axes).replace("width = 16", "width = '${width}'");
    let (code, error) = ended(&Workplace::new(&text), &["check", "experiment.toml"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("stages of the 9 in the file"), "{error}");
    assert!(error.contains("; 100000 is the limit"), "{error}");
    let text = text
        .replace("epochs = 1", "epochs = 1\nseed = '${seed}'\nbatch_size = '${width}'")
        .replace("\nbatch_size = 16", "");
    let text = text.replace("seed = 7", "").replace("seed = 8", "");
    let (code, error) = ended(&Workplace::new(&text), &["check", "experiment.toml"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("there are more than 100000 stages and data sets, which is the limit"), "{error}");
}

#[test]
fn f20_the_images_of_a_phantom_are_limited() {
    for count in ["9223372036854775807", "1000000000000"] {
        let error = errors("train = 32", &format!("train = {count}"));
        assert!(error.contains(&format!("`train` must be 1 to 1000000, not {count}")), "{error}");
    }
}

#[test]
fn f22_the_included_parts_cannot_be_overridden() {
    let (code, error) = ended(
        &Workplace::new(EXPERIMENT),
        &["check", "experiment.toml", "--set", "experiment.include=['a.toml']"],
    );
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("`experiment.include` cannot be overridden"), "{error}");
}

#[test]
fn f22_names_are_limited() {
    let long = "x".repeat(65_536);
    for (old, new) in [
        ("name = \"tiny\"", format!("name = \"{long}\"")),
        ("name = \"tiny\"", format!("name = \"{}\"", &long[..255])),
        ("[stage.source_a.pretrain]", format!("[stage.{long}.pretrain]")),
        ("[dataset.cells.phantom]", format!("[dataset.{long}.phantom]")),
        ("[table.main]", format!("[table.{long}]")),
        ("seed = [0, 1]", format!("seed = [0, 1]\n{long} = [1]")),
    ] {
        let error = errors(old, &new);
        assert!(error.contains("bytes; 100 is the limit") && error.len() < 20_000, "{error}");
    }
}

#[test]
fn f22_many_errors_are_counted_and_long_lines_cut() {
    let keys: String = (0..20_000).map(|key| format!("wrong_{key} = 1\n")).collect();
    let error = errors("epochs = 1\n", &format!("epochs = 1\n{keys}"));
    assert_eq!(error.matches("error: unknown key").count(), 20);
    assert!(error.ends_with("and 19980 more errors\n") && error.len() < 20_000, "{error}");
    let models: String = (0..20_000).map(|model| format!("\"m{model}\" = \"none_{model}\", ")).collect();
    let error = errors("models = { ", &format!("models = {{ {models}"));
    assert!(error.ends_with("and 19980 more errors\n") && error.len() < 20_000, "{error}");
}

#[test]
fn f22_factors_have_sane_ranges() {
    let ties = "method.ties = { base = 'source_a', scaling = 1e300 }";
    let error = errors("method = \"average\"", ties);
    assert!(error.contains("`scaling` must be above 0 and up to 1000, not 1e300"), "{error}");
    let error = errors("lr = 0.002", "lr = 1e300");
    assert!(error.contains("`lr` must be 1e30 or less, not 1e300"), "{error}");
}

/// [`EXPERIMENT`] with a learning rate for `final` that is selected on validation images.
fn selection(rates: &str) -> Workplace {
    let text = EXPERIMENT.replace("seed = [0, 1]", &format!("seed = [0]\nlr = [{rates}]"));
    let text =
        text.replace("lr = 0.002", "lr = '${lr}'").replace("\"final\" = \"final\"", "\"best\" = \"best\"");
    Workplace::new(&format!(
        "{text}
[stage.best.select]
from = 'final'
axis = 'lr'
dataset = 'xray'
metric = 'log_loss'
[stage.all.evaluate]
models.final = 'final'
datasets = ['xray']
split = 'val'
[stage.chosen.evaluate]
models.best = 'best'
datasets = ['xray']
split = 'val'
"
    ))
}

/// The validation log losses of a stage in `metrics.csv`.
fn losses(workplace: &Workplace, stage: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(workplace.path("results/tiny/metrics.csv")).expect("metrics.csv");
    let rows = text
        .lines()
        .filter(|line| line.starts_with(&format!("tiny,{stage},")) && line.contains(",log_loss,"));
    rows.map(|line| line.split(',').rev().nth(1).expect("a value").parse().expect("a number")).collect()
}

/// The id and fingerprint of each stage.
fn fingerprints(workplace: &Workplace) -> std::collections::BTreeMap<String, String> {
    let output = workplace.medmerge(&["plan", "experiment.toml", "--json"]).output().expect("a plan");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let stages = plan["stages"].as_array().expect("stages").iter();
    stages.map(|stage| (text(&stage["id"]), text(&stage["fingerprint"]))).collect()
}

#[test]
fn f12_a_value_of_an_axis_is_selected_on_validation_images() {
    let workplace = selection("0.00001, 0.01, 1.0");
    workplace.medmerge(&["run", "experiment.toml"]).assert().success();
    let (all, chosen) = (losses(&workplace, "all"), losses(&workplace, "chosen"));
    assert_eq!((all.len(), chosen.len()), (3, 1), "{all:?} {chosen:?}");
    assert_eq!(chosen[0], all.iter().copied().fold(f64::INFINITY, f64::min), "{all:?}");
    let plan = fingerprints(&workplace);
    assert!(plan.contains_key("best[seed=0]") && plan.contains_key("scores[seed=0]"), "{plan:?}");
    assert_eq!(
        fingerprints(&selection("1.0, 0.00001, 0.01")),
        plan,
        "the order of the values does not matter"
    );
    assert_ne!(fingerprints(&selection("0.00001, 0.01"))["best[seed=0]"], plan["best[seed=0]"]);
}

#[test]
fn f12_an_axis_that_cannot_be_selected_along_is_refused() {
    let select = |from: &str, axis: &str| {
        let stage = format!("[stage.best.select]\nfrom = '{from}'\naxis = '{axis}'\ndataset = 'xray'\n");
        refused(&with(&stage))
    };
    assert!(select("final", "sed").contains("unknown axis `sed`"));
    let error = select("source_a", "seed");
    assert!(error.contains("stage `source_a` does not depend on the axis `seed`"), "{error}");
    let error = select("weights", "seed");
    assert!(error.contains("expected a stage that makes a model, got merge weights"), "{error}");
}
