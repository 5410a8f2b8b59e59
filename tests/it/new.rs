//! `medmerge new`: each template is checked and run as it was written.

use image::{Rgb, RgbImage};
use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;

/// Small and quick; everything else as written.
const QUICK: [&str; 6] = [
    "train.epochs=1",
    "sweep.seed=[0]",
    "dataset.target.train=32",
    "dataset.target.val=16",
    "dataset.target.test=16",
    "experiment.name=trial",
];

fn check_and_run(place: &Workplace, template: &str, sets: &[&str]) {
    let file = format!("experiments/{template}.toml");
    place.medmerge(&["check", &file]).assert().code(0);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let run = place.medmerge(&[&["run", &file][..], &sets].concat()).assert().code(0);
    run.stdout(contains("macro_f1"));
}

#[test]
fn templates_run_as_they_are() {
    let place = Workplace::new("");
    for template in ["transfer", "merge", "sweep"] {
        let new = place.medmerge(&["new", template, "--template", template]).assert().code(0);
        new.stdout(contains(format!("next: medmerge check experiments/{template}.toml")));
        let sources =
            if template == "merge" { &["source_a_data", "source_b_data"][..] } else { &["source_data"] };
        let counts = ["train=32", "val=16", "test=16"];
        let of_sources =
            sources.iter().flat_map(|name| counts.map(|count| format!("dataset.{name}.{count}")));
        let of_sources: Vec<String> = of_sources.collect();
        let sets: Vec<&str> = QUICK.into_iter().chain(of_sources.iter().map(String::as_str)).collect();
        check_and_run(&place, template, &sets);
    }
    assert!(place.path("experiments/experiment.schema.json").exists());
}

#[test]
fn every_key_of_a_template_has_a_comment() {
    let place = Workplace::new("").with("labels.csv", "image,label,split\n");
    for template in ["transfer", "merge", "sweep", "own-images"] {
        place.medmerge(&["new", template, "--template", template, "--images", "labels.csv"]).assert().code(0);
        let text = std::fs::read_to_string(place.path(&format!("experiments/{template}.toml"))).unwrap();
        assert!(
            [
                "{name}",
                "{what}",
                "{path}",
                "{size}",
                "{csv}",
                "{split}",
                "{role}",
                "{dataset}",
                "{family}",
                "{train}"
            ]
            .iter()
            .all(|hole| !text.contains(hole))
        );
        let mut explained = std::collections::HashSet::new();
        let mut comment_above = false;
        for line in text.lines() {
            let key = line.split(['=', '.']).next().unwrap().trim();
            if line.contains(" = ")
                && !line.starts_with(['#', '"', '['])
                && key != "name"
                && key != "description"
            {
                let is_explained = line.contains('#') || comment_above;
                assert!(is_explained || explained.contains(key), "{template}: {line}");
                explained.insert(key.to_owned());
            }
            comment_above = line.starts_with('#');
        }
    }
}

fn with_images() -> Workplace {
    let place = Workplace::new("");
    let mut csv = "image,label\n".to_owned();
    for number in 0..24u8 {
        let name = format!("{number}.png");
        RgbImage::from_pixel(9, 7, Rgb([number * 9, 99, 7])).save(place.path(&name)).unwrap();
        csv += &format!("{name},{}\n", if number % 2 == 0 { "a" } else { "b" });
    }
    place.with("labels.csv", csv)
}

#[test]
fn own_images_are_split_and_trained_on() {
    let place = with_images();
    let new = ["new", "mine", "--template", "own-images", "--images", "labels.csv", "--size", "16"];
    place.medmerge(&new).assert().code(0);
    let text = std::fs::read_to_string(place.path("experiments/mine.toml")).unwrap();
    assert!(
        text.contains("path = \"../labels.csv\" ")
            && text.contains("size = 16 ")
            && text.contains("split.random = {"),
        "{text}"
    );
    check_and_run(&place, "mine", &["stage.scratch.epochs=1", "sweep.seed=[0]"]);
    place
        .medmerge(&new)
        .assert()
        .code(2)
        .stderr(contains("experiments/mine.toml exists; choose another name"));
}

#[test]
fn own_images_are_needed() {
    let place = Workplace::new("");
    let new = place.medmerge(&["new", "mine", "--template", "own-images"]).assert().code(2);
    new.stderr(contains("this template needs --images"));
    let new = place.medmerge(&["new", "mine", "--images", "none.csv"]).assert().code(2);
    new.stderr(contains("failed to read none.csv"));
    let new = place.medmerge(&["new", "../mine"]).assert().code(2);
    new.stderr(contains("must consist of letters"));
    let paper = ["new", "paper", "--template", "paper", "--images", "none.csv"];
    std::fs::write(place.path("none.csv"), "image,label\n").unwrap();
    place.medmerge(&paper).assert().code(2).stderr(contains("has data sets of its own; omit --images"));
    place.medmerge(&["new", "mine", "--size", "32"]).assert().code(2).stderr(contains("--images"));
    assert!(!place.path("experiments").exists());
}

#[test]
fn templates_name_pages_of_the_guide() {
    let place = with_images();
    for template in ["merge", "own-images"] {
        place.medmerge(&["new", template, "--template", template, "--images", "labels.csv"]).assert().code(0);
        let text = std::fs::read_to_string(place.path(&format!("experiments/{template}.toml"))).unwrap();
        let pages = text.split("`medmerge guide ").skip(1).map(|rest| rest.split('`').next().unwrap());
        pages.for_each(|page| drop(place.medmerge(&["guide", page]).assert().code(0)));
    }
}

#[test]
fn the_tables_of_the_paper_say_which_data_they_need() {
    let place = Workplace::new("");
    place.medmerge(&["new", "paper", "--template", "paper"]).assert().code(0);
    let check =
        place.medmerge(&["check", "experiments/paper"]).env("MEDMERGE_DATA", place.path("none")).assert();
    check.code(2).stderr(contains("no such folder").and(contains("none/isic2018")));
}

#[test]
fn target_and_sources_are_chosen() {
    let place = with_images();
    let new = ["new", "mine", "--template", "merge", "--target", "lesions", "--sources", "labels.csv,xray"];
    place.medmerge(&[&new[..], &["--size", "16"]].concat()).assert().code(0);
    let text = std::fs::read_to_string(place.path("experiments/mine.toml")).unwrap();
    for part in [
        "[dataset.target.phantom]\nfamily = \"lesions\" ",
        "[dataset.source_a_data.manifest]\npath = \"../labels.csv\" ",
        "[dataset.source_b_data.phantom]\nfamily = \"xray\" ",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches("size = 16 ").count(), 3, "{text}");
    place.medmerge(&["check", "experiments/mine.toml"]).assert().code(0);
    let new = |arguments: &[&str]| place.medmerge(&[&["new", "other"], arguments].concat()).assert().code(2);
    new(&["--template", "transfer", "--sources", "cells,xray"]).stderr(contains("takes 1 sources, not 2"));
    new(&["--target", "skin"]).stderr(contains("\"skin\" is neither synthetic images"));
    new(&["--target", "none.csv"]).stderr(contains("failed to read none.csv"));
    new(&["--template", "paper", "--target", "cells"]).stderr(contains("omit --target"));
}

/// What it says on a terminal where these lines are typed.
#[cfg(target_os = "linux")]
fn typed(place: &Workplace, arguments: &[&str], lines: &str) -> String {
    use std::io::Write;
    let (mut ours, its) = crate::builder::terminal(80);
    ours.write_all(lines.as_bytes()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_medmerge"));
    let output = command.args(arguments).current_dir(place.path("")).stdin(its).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_terminal_it_asks_for_what_it_was_not_told() {
    let place = Workplace::new("");
    let said = typed(&place, &["new", "asked"], "transfer\nxray\n\n");
    assert!(said.contains("Template [merge]: ") && said.contains("Target: cells, fundus"), "{said}");
    assert!(said.contains("Source 1: ") && !said.contains("Source 2: "), "{said}");
    let text = std::fs::read_to_string(place.path("experiments/asked.toml")).unwrap();
    assert!(text.contains("[dataset.target.phantom]\nfamily = \"xray\""), "{text}");
    assert!(text.contains("[dataset.source_data.phantom]\nfamily = \"cells\""), "{text}");
    let said = typed(&place, &["new", "told", "--template", "merge"], "");
    assert!(!said.contains("Target: "), "{said}");
}
