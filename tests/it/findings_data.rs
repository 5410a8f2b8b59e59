//! Data that must not be used silently: damaged, huge, leaking or unreadable files, and names with control characters.

use image::{ImageBuffer, Luma, RgbImage};
use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;
use crate::image_file;

/// An experiment that pretrains on a manifest and evaluates there.
const MANIFEST: &str = r#"
[experiment]
name = "mine"
[dataset.mine.manifest]
path = "labels.csv"
size = 8
[train]
epochs = 1
batch_size = 4
select = "none"
[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "mine"
seed = 1
[stage.scores.evaluate]
models = { "source" = "source" }
datasets = ["mine"]
[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

/// Three images of each class for training and one for testing: `<class><number>.png`.
fn workplace(classes: &[&str]) -> Workplace {
    let place = Workplace::new(MANIFEST);
    let mut csv = "image,label,split\n".to_owned();
    for (label, class) in classes.iter().enumerate() {
        for number in 0..4 {
            let name = format!("{label}-{number}.png");
            let split = if number < 3 { "train" } else { "test" };
            let level = (40 * label + 7 * number) as u8;
            RgbImage::from_pixel(10, 9, image::Rgb([level, 99, 7])).save(place.path(&name)).unwrap();
            csv += &format!("{name},\"{class}\",{split}\n");
        }
    }
    place.with("labels.csv", csv)
}

/// Rows that follow those of [`workplace`].
fn add_rows(place: &Workplace, rows: &str) {
    let path = place.path("labels.csv");
    let csv = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, csv + rows).unwrap();
}

#[test]
fn f02_a_truncated_jpeg_is_refused_with_its_row_before_anything_runs() {
    let place = workplace(&["a", "b"]);
    let path = place.path("cut.jpg");
    let picture = RgbImage::from_fn(64, 64, |x, y| image::Rgb([(x * y) as u8, x as u8, y as u8]));
    let whole = image_file::jpeg(&picture);
    std::fs::write(&path, &whole[..900]).unwrap();
    add_rows(&place, "cut.jpg,a,train\n");
    for command in ["check", "run"] {
        let assert = place.medmerge(&[command, "experiment.toml"]).assert().code(3);
        assert.stderr(
            contains("labels.csv, row 10: ")
                .and(contains("cut.jpg cannot be decoded"))
                .and(contains("truncated")),
        );
    }
}

#[test]
fn f02_questionable_classes_give_warnings_once_in_check_list_and_run() {
    let place = workplace(&["mel", "MEL"]);
    add_rows(&place, "0-3.png,b,train\n");
    let csv = std::fs::read_to_string(place.path("labels.csv")).unwrap();
    let csv = csv.replacen("0-3.png,\"mel\",test\n", "", 1);
    let place = place.with("labels.csv", csv);
    let alike = "data set `mine` has the classes `MEL` and `mel`, which differ only in case";
    let rare = "data set `mine` has fewer than 3 training images of `b` (1)";
    for command in [&["check"][..], &["data", "list"], &["run"]] {
        let assert = place.medmerge(&[command, &["experiment.toml"]].concat()).assert().code(0);
        assert.stderr(contains(alike).count(1).and(contains(rare).count(1)));
    }
}

#[test]
fn f02_a_data_set_of_one_class_is_an_error_instead_of_a_perfect_score() {
    let assert = workplace(&["only"]).medmerge(&["run", "experiment.toml"]).assert().code(3);
    assert.stderr(contains(
        "data set `mine`: it has one class, `only`, so every score of stage `source` would",
    ));
}

#[test]
fn f02_dark_images_of_sixteen_bits_give_a_warning_unless_bits_is_set() {
    let place = workplace(&["a", "b"]);
    let deep = ImageBuffer::from_fn(8, 8, |x, y| Luma([(60 * (x + y)) as u16 + 3000]));
    deep.save(place.path("deep.png")).unwrap();
    add_rows(&place, "deep.png,a,train\n");
    let check = |arguments: &[&str]| {
        place.medmerge(&[&["check", "experiment.toml"], arguments].concat()).assert().code(0)
    };
    let dark = contains("their largest level is 3840 of 65535; set `pixels.bits = 12`");
    check(&[]).stderr(dark);
    check(&["--set", "dataset.mine.pixels.bits=12"]).stderr(contains("bits").not());
    let assert =
        place.medmerge(&["check", "experiment.toml", "--set", "dataset.mine.pixels.bits=17"]).assert();
    assert.code(2).stderr(contains("`bits` must be 1 to 16, not 17"));
}

#[test]
fn f20_phantom_counts_have_a_limit_that_the_error_says() {
    let place = Workplace::new(&MANIFEST.replace(
        "[dataset.mine.manifest]\npath = \"labels.csv\"\n",
        "[dataset.mine.phantom]\nfamily = \"cells\"\ntrain = 9223372036854775807\nval = 1000000000000\n",
    ));
    let assert = place.medmerge(&["check", "experiment.toml"]).assert().code(2);
    assert.stderr(
        contains("`train` must be 1 to 1000000, not 9223372036854775807")
            .and(contains("`val` must be 1 to 1000000, not 1000000000000")),
    );
}

#[test]
fn f22_an_image_with_too_many_pixels_is_refused_unless_the_limit_is_raised() {
    let place = workplace(&["a", "b"]);
    let check = |most: &str| {
        place
            .medmerge(&[
                "check",
                "experiment.toml",
                "--set",
                &format!("dataset.mine.pixels.max_pixels={most}"),
            ])
            .assert()
    };
    check("89")
        .code(3)
        .stderr(contains("row 2: ").and(contains("10 x 9 = 90 pixels, more than `max_pixels` (89)")));
    check("90").code(0);
}

#[test]
#[cfg(unix)]
fn f22_the_same_file_in_two_splits_is_an_error() {
    let place = workplace(&["a", "b"]);
    std::os::unix::fs::symlink("0-0.png", place.path("link.png")).unwrap();
    add_rows(&place, "link.png,a,test\n");
    let assert = place.medmerge(&["check", "experiment.toml"]).assert().code(3);
    assert.stderr(contains(
        "row 10: image 'link.png' is in two splits: test here and train in row 2 as '0-0.png'",
    ));
}

#[test]
#[cfg(unix)]
fn f22_pipes_are_refused_as_experiment_and_as_data() {
    let place = workplace(&["a", "b"]);
    let pipe = |name: &str| {
        let made = std::process::Command::new("mkfifo").arg(place.path(name)).status();
        assert!(made.expect("failed to start mkfifo").success());
    };
    pipe("pipe.toml");
    let assert = place.medmerge(&["check", "pipe.toml"]).assert().code(2);
    assert.stderr(contains("failed to read pipe.toml: it is a pipe or a device, not a file"));
    pipe("pipe.png");
    add_rows(&place, "pipe.png,a,test\n");
    let assert = place.medmerge(&["check", "experiment.toml"]).assert().code(3);
    assert.stderr(contains("row 10: ").and(contains("pipe.png")));
}

#[test]
#[cfg(unix)]
fn f22_a_folder_that_is_not_utf8_is_refused_by_check_and_run() {
    use std::os::unix::ffi::OsStrExt;
    let place = workplace(&["a", "b"]);
    let folder = place.path("").join(std::ffi::OsStr::from_bytes(b"b\xff"));
    if std::fs::create_dir(&folder).is_err() {
        // Some file systems have only names in UTF-8.
        return;
    }
    std::fs::write(folder.join("experiment.toml"), MANIFEST).unwrap();
    for command in ["check", "run", "plan"] {
        let assert = place.medmerge(&[command]).arg(folder.join("experiment.toml")).assert().code(2);
        assert.stderr(contains("its path is not UTF-8").and(contains("panicked").not()));
    }
}

/// Whether output has no control characters but line breaks and tabs.
fn is_plain(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output);
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

#[test]
fn f22_control_characters_of_names_do_not_reach_the_terminal() {
    let place = workplace(&["a\u{1b}[31m", "b\u{9b}1m"]);
    let experiment = MANIFEST.replace("{ \"source\" = \"source\" }", "{ \"so\\u001b[2Jurce\" = \"source\" }");
    let place = place.with("experiment.toml", experiment);
    for arguments in [&["data", "list"][..], &["check"], &["run"], &["plan"], &["table"], &["explain"]] {
        let mut command = place.medmerge(&[arguments, &["experiment.toml"]].concat());
        if arguments == ["explain"] {
            command.arg("scores");
        }
        let output = command.output().unwrap();
        let shown =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {shown}");
        assert!(is_plain(&output.stdout) && is_plain(&output.stderr), "{arguments:?}: {shown:?}");
    }
    let list = place.medmerge(&["data", "list", "experiment.toml"]).assert();
    list.stdout(contains("a\\u{1b}[31m").and(contains("b\\u{9b}1m")));
    let metrics = std::fs::read_to_string(place.path("results/mine/metrics.csv")).unwrap();
    assert!(metrics.contains("so\u{1b}[2Jurce"), "a CSV has the raw text: {metrics}");
}

#[test]
fn f22_control_characters_of_files_do_not_reach_the_terminal_in_errors() {
    let place = workplace(&["a", "b"]);
    add_rows(&place, "\u{1b}[2Jgone.png,a,train\n");
    let output = place.medmerge(&["check", "experiment.toml"]).output().unwrap();
    assert!(is_plain(&output.stderr), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\\u{1b}[2Jgone.png"));
    let place = place.with("experiment.toml", "[experiment]\nname = \"\u{1b}[31m\" = 3\n");
    let output = place.medmerge(&["check", "experiment.toml"]).output().unwrap();
    assert!(is_plain(&output.stderr), "{}", String::from_utf8_lossy(&output.stderr));
}
