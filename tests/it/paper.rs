//! `experiments/paper`, rehearsed: all its tables from miniature folders with the official layouts.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::{Rgb, RgbImage};
use medmerge::rng::name_index;
use predicates::str::contains;
use sha2::{Digest, Sha256};

use crate::builder::{EXPERIMENT, Workplace};
use crate::image_file;

const SKIN: [&str; 8] = ["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC", "SCC"];

/// A picture of a class: its color, with a texture that follows from the file's name, perhaps within a black frame.
fn draw(path: &Path, class: usize, is_framed: bool) {
    let seed = name_index(&path.file_name().expect("a name").to_string_lossy()) | 1;
    let picture = RgbImage::from_fn(48, 36, |x, y| {
        let texture = (u64::from(x * 31 + y * 17 + 1).wrapping_mul(seed) >> 40) % 31;
        let level = |shift: usize| ((class * 37 + shift * 60) % 200) as u8 + texture as u8;
        let is_outside = is_framed && !(6..42).contains(&x);
        if is_outside { Rgb([0; 3]) } else { Rgb([0, 1, 2].map(level)) }
    });
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    image_file::save(&picture, path);
}

fn one_hot(class: usize, classes: usize) -> String {
    (0..classes).map(|i| if i == class { ",1.0" } else { ",0.0" }).collect()
}

fn write(path: PathBuf, header: &str, rows: &[String]) {
    std::fs::write(path, format!("{header}\n{}\n", rows.join("\n"))).expect("a file");
}

fn isic2018(folder: &Path) {
    let mut lesions = Vec::new();
    for (part, start, images) in [("Training", 0, 8), ("Validation", 100, 3), ("Test", 200, 3)] {
        let mut rows = Vec::new();
        for (class, i) in (0..7).flat_map(|class| (0..images).map(move |i| (class, i))) {
            let name = format!("ISIC_{:07}", start + class * 10 + i);
            draw(&folder.join(format!("ISIC2018_Task3_{part}_Input/{name}.jpg")), class, false);
            rows.push(name.clone() + &one_hot(class, 7));
            if part == "Training" {
                lesions.push(format!("{name},HAM_{:07},single image expert consensus", class * 10 + i / 2));
            }
        }
        let header = format!("image,{}", SKIN[..7].join(","));
        write(folder.join(format!("ISIC2018_Task3_{part}_GroundTruth.csv")), &header, &rows);
    }
    let header = "image,lesion_id,diagnosis_confirm_type";
    write(folder.join("ISIC2018_Task3_Training_LesionGroupings.csv"), header, &lesions);
}

fn isic2019(folder: &Path) {
    let (mut truth, mut metadata) = (Vec::new(), Vec::new());
    for (class, i) in (0..8).flat_map(|class| (0..12).map(move |i| (class, i))) {
        let name = format!("ISIC_{:07}", 1000 + class * 20 + i);
        draw(&folder.join(format!("ISIC_2019_Training_Input/{name}.jpg")), class, false);
        truth.push(name.clone() + &one_hot(class, 9));
        metadata.push(format!("{name},55.0,anterior torso,BCN_{:07},female", class * 20 + i / 2));
    }
    let header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK";
    write(folder.join("ISIC_2019_Training_GroundTruth.csv"), header, &truth);
    let header = "image,age_approx,anatom_site_general,lesion_id,sex";
    write(folder.join("ISIC_2019_Training_Metadata.csv"), header, &metadata);
}

fn eyepacs(folder: &Path) {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (grade, i) in (0..5).flat_map(|grade| (0..8).map(move |i| (grade, i))) {
        for eye in ["left", "right"] {
            let patient = grade * 8 + i;
            let row = format!("{patient}_{eye},{grade}");
            let part = if i < 4 { "train" } else { "test" };
            draw(&folder.join(format!("{part}/{patient}_{eye}.jpeg")), grade, true);
            match i {
                0..4 => train.push(row),
                4..6 => test.push(row + ",Public"),
                _ => test.push(row + ",Private"),
            }
        }
    }
    write(folder.join("trainLabels.csv"), "image,level", &train);
    write(folder.join("retinopathy_solution.csv"), "image,level,Usage", &test);
}

fn aptos2019(folder: &Path) {
    let mut rows = Vec::new();
    for (grade, i) in (0..5).flat_map(|grade| (0..12).map(move |i| (grade, i))) {
        let id = format!("{:012x}", grade * 1000 + i);
        draw(&folder.join(format!("train_images/{id}.png")), grade, true);
        rows.push(format!("{id},{grade}"));
    }
    write(folder.join("train.csv"), "id_code,diagnosis", &rows);
}

/// A workplace with the folders in `data`, and weights in torchvision's format: those of any small network.
fn workplace() -> Workplace {
    let workplace = Workplace::new(&EXPERIMENT.replace("width = 16", "width = 8"));
    isic2018(&workplace.path("data/isic2018"));
    isic2019(&workplace.path("data/isic2019"));
    eyepacs(&workplace.path("data/eyepacs"));
    aptos2019(&workplace.path("data/aptos2019"));
    workplace.medmerge(&["run", "experiment.toml", "--quiet", "--only", "source_a"]).assert().success();
    let mut files = walk(&workplace.path(".medmerge/store")).into_iter();
    let weights = files.find(|path| path.ends_with("model.safetensors")).expect("weights");
    std::fs::create_dir(workplace.path("data/weights")).expect("a folder");
    std::fs::copy(weights, workplace.path("data/weights/small.safetensors")).expect("weights");
    workplace
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn paper(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/paper");
    folder.join(file).to_str().expect("UTF-8").to_owned()
}

const FILES: [&str; 8] =
    ["main", "granularity", "anchor", "merged_parts", "sources", "label_budget", "origin", "deit_base"];

/// What a rehearsal changes: small images, a small network, one seed, two epochs. Everything else is as shipped.
fn overrides(workplace: &Workplace, file: &str) -> Vec<String> {
    let mut sets: Vec<String> =
        ["ham10k.isic2018", "isic2019.isic2019", "eyepacs.eyepacs", "aptos.aptos2019"]
            .into_iter()
            .chain(["eyes.eyepacs", "skin.isic2019"])
            .map(|dataset| format!("dataset.{}.size=24", dataset.split('.').next().expect("a name")))
            .collect();
    let targets = ["ham10k", "isic2019", "eyepacs", "aptos"];
    let mut trained = vec!["source_a".to_owned(), "scratch".to_owned()];
    trained.extend(targets.iter().map(|target| format!("source_b_{target}")));
    if file == "sources" {
        trained.extend(targets.iter().map(|target| format!("source_c_{target}")));
    }
    let network = r#"{resnet18={stem="small",width=8}}"#;
    sets.extend(trained.iter().map(|stage| format!("stage.{stage}.backbone={network}")));
    let weights = std::fs::read(workplace.path("data/weights/small.safetensors")).expect("weights");
    let digest: String = Sha256::digest(weights).iter().map(|byte| format!("{byte:02x}")).collect();
    sets.push(format!("stage.source_a.sha256={digest:?}"));
    sets.extend(
        [
            "stage.source_a.path=${data}/weights/small.safetensors",
            "sweep.seed=[0]",
            "train.epochs=2",
            "train.batch_size=16",
        ]
        .map(Into::into),
    );
    sets
}

fn rehearse(workplace: &Workplace, command: &str, file: &str) -> assert_cmd::assert::Assert {
    let sets = overrides(workplace, file);
    let mut arguments = vec![command.to_owned(), paper(&format!("{file}.toml"))];
    arguments.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    workplace.medmerge(&arguments).env("MEDMERGE_DATA", workplace.path("data")).assert()
}

#[test]
fn every_table_of_the_paper_is_made_from_miniature_folders() {
    let workplace = workplace();
    for file in FILES {
        let run = rehearse(&workplace, "run", file).code(0);
        run.stderr(contains("failed 0, skipped 0"));
    }
    let main = std::fs::read_to_string(workplace.path("results/paper/main/macro_f1.csv")).expect("a table");
    let rows: Vec<&str> = main.lines().skip(1).collect();
    assert_eq!(rows.len(), 13, "{main}");
    for target in ["ham10k", "isic2019", "eyepacs", "aptos"] {
        assert!(main.lines().next().expect("a header").contains(&format!("{target}.mean")), "{main}");
    }
    assert!(workplace.path("results/paper/origin/merge_weights.svg").exists());
}

/// The official counts of a miniature folder are found in each split.
#[test]
fn official_splits_are_the_folders_own() {
    let workplace = workplace();
    let listed = rehearse_list(&workplace);
    for line in
        ["ham10k (isic2018, 24 x 24 pixels, 7 classes)", "eyepacs (eyepacs, 24 x 24 pixels, 5 classes)"]
    {
        assert!(listed.contains(line), "{listed}");
    }
    assert!(listed.contains("  all         56       21       21"), "{listed}");
    assert!(listed.contains("  all                 40       20       20"), "{listed}");
}

fn rehearse_list(workplace: &Workplace) -> String {
    let file = paper("main.toml");
    let sets = overrides(workplace, "main").into_iter().flat_map(|set| ["--set".to_owned(), set]);
    let arguments: Vec<String> = ["data".into(), "list".into(), file].into_iter().chain(sets).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = workplace.medmerge(&arguments).env("MEDMERGE_DATA", workplace.path("data")).output();
    let output = output.expect("an output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    static EMPTY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| tempfile::tempdir().expect("a folder")).path();
    let workplace = Workplace::new("");
    let check = workplace.medmerge(&["check", &paper("")]).env("MEDMERGE_DATA", empty).assert().code(2);
    let stderr = String::from_utf8_lossy(&check.get_output().stderr).into_owned();
    // Once for each data set of a target, and for the two that sources learn; not once per file.
    for (missing, times) in [("isic2018", 1), ("isic2019", 2), ("eyepacs", 2), ("aptos2019", 1)] {
        let message = format!("no such folder: {}/{missing}", empty.display());
        assert_eq!(stderr.matches(&message).count(), times, "{stderr}");
    }
    for missing in ["resnet50-0676ba61.pth", "deit_base_patch16_224-b5f2ef4d.pth"] {
        assert!(stderr.contains(&format!("no such file: {}/weights/{missing}", empty.display())), "{stderr}");
    }
}
