//! Models and data sets whose classes have the same names in another order.

use std::collections::BTreeMap;

use predicates::str::contains;

use crate::builder::Workplace;

const EXPERIMENT: &str = r#"
[experiment]
name = "order"

[dataset.one.manifest]
path = "labels.csv"
size = 12
classes = ["red", "green", "blue"]

[dataset.other.manifest]
path = "labels.csv"
size = 12
classes = ["blue", "red", "green"]

[train]
epochs = 2
batch_size = 12
optimizer.adamw = { lr = 0.003 }

[stage.a.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "one"
seed = 1

[stage.b.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "other"
seed = 2

# So low a learning rate that it stays the model of `a`.
[stage.kept.finetune]
from = "a"
dataset = "other"
head = "keep"
trainable = "head"
epochs = 1
optimizer.adamw = { lr = 1e-9 }

[stage.soup.merge]
sources = ["a", "again"]
method = "greedy_soup"
batch_norm = "merged"
dataset = "other"

[stage.again.finetune]
from = "a"
dataset = "one"

[stage.weights.learn_merge_weights]
sources = ["a", "b"]
anchor = "a"
dataset = "other"

[stage.scores.evaluate]
models = { A = "a", B = "b", Kept = "kept", Soup = "soup" }
ensembles."Mean" = { models = ["a", "b"] }
ensembles."Logits" = { models = ["b", "a"], of = "logits" }
datasets = ["one", "other"]
"#;

const CLASSES: [&str; 3] = ["red", "green", "blue"];

/// Images of one color and noise, and a list of them.
fn workplace(experiment: &str) -> Workplace {
    let mut list = String::from("image,label,split\n");
    let mut workplace = Workplace::new(experiment);
    for i in 0..60_u32 {
        let class = i as usize % 3;
        let picture = image::RgbImage::from_fn(12, 12, |x, y| {
            let noise = |c: u32| (x * 37 + y * 91 + i * 53 + c * 17) % 200;
            image::Rgb([0, 1, 2].map(|c| (noise(c) + 40 * u32::from(c as usize == class)) as u8))
        });
        let mut png = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let split = ["train", "train", "val", "test"][i as usize / 3 % 4];
        list += &format!("{i}.png,{},{split}\n", CLASSES[class]);
        workplace = workplace.with(&format!("{i}.png"), png.into_inner());
    }
    workplace.with("labels.csv", list)
}

/// A row of predictions: image, true and predicted class, and the probabilities by the names of their columns.
type Row = (String, String, String, BTreeMap<String, f64>);

fn predictions(workplace: &Workplace, name: &str) -> (String, Vec<Row>) {
    let path = workplace.path(&format!("results/order/predictions/{name}.csv"));
    let text = std::fs::read_to_string(path).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    let names: Vec<&str> = header.split(',').skip(3).collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let pairs = names.iter().zip(&cells[3..]);
        let probabilities = pairs.map(|(name, p)| (name.to_string(), p.parse().unwrap())).collect();
        (cells[0].into(), cells[1].into(), cells[2].into(), probabilities)
    };
    (names.join(","), lines.lines().map(row).collect())
}

/// Checks that two predictions are the same, up to rounding by sums in another order.
fn assert_same(a: &[Row], b: &[Row], tolerance: f64) {
    assert!(!a.is_empty() && a.len() == b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a.0, &a.1, &a.2), (&b.0, &b.1, &b.2));
        for (class, p) in &a.3 {
            assert!((p - b.3[class]).abs() < tolerance, "{class}: {a:?} {b:?}");
        }
    }
}

#[test]
fn classes_are_matched_by_name() {
    let workplace = workplace(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml", "--predictions"]).assert().code(0);
    for row in ["A", "B", "Kept", "Soup", "Mean", "Logits"] {
        let (first, one) = predictions(&workplace, &format!("{row}.one"));
        let (second, other) = predictions(&workplace, &format!("{row}.other"));
        assert_eq!((first.as_str(), second.as_str()), ("red,green,blue", "blue,red,green"));
        assert_same(&one, &other, 1e-6);
    }
    let (_, a) = predictions(&workplace, "A.one");
    assert!(a.iter().any(|row| row.2 != a[0].2), "a model that predicts one class tests nothing");
    assert_same(&a, &predictions(&workplace, "Kept.one").1, 1e-4);
}

#[test]
fn scores_do_not_depend_on_the_order() {
    let workplace = workplace(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    let table = std::fs::read_to_string(workplace.path("results/order/metrics.csv")).unwrap();
    let mut scores: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        // Kappa with quadratic weights is about grades, whose order is their meaning.
        if let (Ok(value), false) = (cells[7].parse(), cells[6] == "quadratic_kappa") {
            scores.entry((cells[2].into(), cells[6].into())).or_default().push(value);
        }
    }
    assert!(scores.len() > 60, "{table}");
    for (key, values) in scores {
        assert!(values.len() == 2 && (values[0] - values[1]).abs() < 1e-6, "{key:?}: {values:?}");
    }
}

#[test]
fn names_that_differ_are_refused() {
    let text = EXPERIMENT.replacen("[\"blue\", \"red\", \"green\"]", "[\"blue\", \"red\", \"lime\"]", 1);
    let text = text.replace(", Kept = \"kept\", Soup = \"soup\"", "").replacen(
        "size = 12\nclasses = [\"blue\"",
        "size = 12\nclass_map = { green = \"lime\" }\nclasses = [\"blue\"",
        1,
    );
    let told = "model \"A\" (stage `a`) has a head for 3 classes (red, green, blue), but data set `other` has 3 classes \
                (blue, red, lime)";
    let kept = "`head = \"keep\"`, but the model of `a` has a head for 3 classes (red, green, blue), and data set `other`";
    let workplace = workplace(&text);
    let check = workplace.medmerge(&["check", "experiment.toml"]).assert().code(2);
    check.stderr(contains(told)).stderr(contains(kept));
}
