//! Tables that resample images by group, from files with groups to the note.

use predicates::str::contains;

use crate::builder::Workplace;

const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"

[sweep]
seed = [0, 1]
source_seed = [3, 4]

[dataset.own.manifest]
path = "labels.csv"
size = 12

[train]
epochs = 1
batch_size = 8

[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "own"
seed = "${source_seed}"

[stage.tuned.finetune]
from = "source"
dataset = "own"
seed = "${seed}"

[stage.scores.evaluate]
models = { "source" = "source", "tuned" = "tuned" }
datasets = ["own"]

[table.main]
from = ["scores"]
metrics = ["accuracy"]
over = ["seed", "source_seed"]
interval = "random_effects"
compare = { to = "source", test = "random_effects" }

[figure.differences.forest]
table = "main"
"#;

/// 8 images for training, 4 for validation, 12 for testing; those of the test in groups of this size.
fn labels(size: usize) -> String {
    let mut csv = String::from("image,label,split,group\n");
    for image in 0..24 {
        let split = if image < 8 {
            "train"
        } else if image < 12 {
            "val"
        } else {
            "test"
        };
        let group = if image < 12 { format!("own {image}") } else { format!("p{}", image / size) };
        csv += &format!("{image}.png,{},{split},{group}\n", ["well", "ill"][image % 2]);
    }
    csv
}

fn workplace() -> Workplace {
    with_labels(&labels(3))
}

fn with_labels(labels: &str) -> Workplace {
    let place = Workplace::new(EXPERIMENT).with("labels.csv", labels);
    for image in 0..24_u32 {
        let picture = image::RgbImage::from_fn(12, 12, |x, y| {
            image::Rgb([(40 * x + 7 * image) as u8, (30 * y + 100 * (image % 2)) as u8, (9 * image) as u8])
        });
        picture.save(place.path(&format!("{image}.png"))).expect("failed to write an image");
    }
    place
}

#[test]
fn groups_are_read_when_a_table_is_written_and_predictions_stay_fresh() {
    let place = workplace();
    let run = place.medmerge(&["run", "experiment.toml"]).assert().code(0);
    run.stderr(contains("executed 10, fresh 0, failed 0"))
        .stdout(contains("Images: own (12 in 4 groups)."))
        .stdout(contains("seed (0, 1) × source_seed (3, 4), n = 4"))
        .stdout(contains("paired t test with random effects of groups of images, seed, and source_seed"));
    let figure = std::fs::read_to_string(place.path("results/tiny/differences.svg")).expect("a figure");
    assert!(
        figure.contains("95 % confidence intervals: paired t test with random effects of groups"),
        "{figure}"
    );
    let place = place.with("labels.csv", labels(6));
    let table = place.medmerge(&["table", "experiment.toml"]).assert().code(0);
    table.stdout(contains("Images: own (12 in 2 groups)."));
    place.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 0, fresh 10"));
    let single = ["table", "experiment.toml", "--set", "table.main.by_group=false"];
    place.medmerge(&single).assert().code(0).stdout(contains("Images: own (12)."));
}

/// The heading of `data list`, and the numbers of training and validation images.
fn listed(place: &Workplace, budget: &[&str]) -> (String, [usize; 2]) {
    let list = [&["data", "list", "experiment.toml"], budget].concat();
    let list = place.medmerge(&list).assert().code(0);
    let text = String::from_utf8(list.get_output().stdout.clone()).expect("text");
    let all = text.lines().find(|line| line.trim_start().starts_with("all")).expect("totals");
    let counts: Vec<usize> = all.split_whitespace().filter_map(|cell| cell.parse().ok()).collect();
    (text.lines().next().expect("a heading").to_owned(), [counts[0], counts[1]])
}

#[test]
fn a_number_of_training_images_keeps_groups_whole_and_one_of_all_is_no_budget() {
    // Each training image is in one group with the next but one, which has the same label.
    let paired = (0..8).fold(labels(3), |csv, image: usize| {
        csv.replace(&format!("own {image}\n"), &format!("pair {} {}\n", image / 4, image % 2))
    });
    let place = with_labels(&paired);
    let budget = ["--set", "dataset.own.label_count=4", "--set", "dataset.own.val_count=2"];
    let (heading, counts) = listed(&place, &budget);
    assert!(
        heading.contains("at most about 4 training images, at most about 2 validation images"),
        "{heading}"
    );
    assert_eq!(counts, [4, 2], "a group of two for each class");
    let whole = ["--set", "dataset.own.label_count=8", "--set", "dataset.own.val_count=100"];
    let (heading, counts) = listed(&place, &whole);
    assert!(!heading.contains("at most"), "{heading}");
    assert_eq!(counts, [8, 4]);
    place.medmerge(&[&["run", "experiment.toml"], &budget[..]].concat()).assert().code(0);
}
