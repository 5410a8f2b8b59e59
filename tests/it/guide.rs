//! The generated pages are those of the program, and the guide can be read.

use std::path::Path;

use medmerge::experiment::{json_schema, reference};
use medmerge::guide::PAGES;
use predicates::str::contains;

use crate::builder::Workplace;

/// Compares a checked-in file with what the program makes; writes it where MEDMERGE_UPDATE is set.
fn is_current(path: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MEDMERGE_UPDATE").is_some() {
        std::fs::write(&path, content).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == content,
        "{} is stale; write it anew with `MEDMERGE_UPDATE=1 cargo test --release --test it guide::`",
        path.display()
    );
}

#[test]
fn the_schema_is_current() {
    is_current("src/guide/reference/experiment.schema.json", &format!("{:#}\n", json_schema()));
}

#[test]
fn the_reference_of_keys_is_current() {
    is_current("src/guide/reference/keys.md", &reference());
}

#[test]
fn every_link_of_the_guide_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    for page in PAGES {
        let folder = root.join(page.topic);
        let folder = folder.parent().unwrap();
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let is_file = !target.is_empty() && !target.contains("://");
            assert!(!is_file || folder.join(target).exists(), "{}: {link}", page.topic);
        }
    }
}

#[test]
fn the_guide_names_features_that_there_are() {
    let manifest = include_str!("../../Cargo.toml");
    let mut named = 0;
    for page in PAGES {
        for rest in page.text.split("--features ").skip(1) {
            let feature: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            assert!(manifest.contains(&format!("\n{feature} = [")), "{}: {feature}", page.topic);
            named += 1;
        }
    }
    assert!(named > 0, "no page names a feature");
}

#[test]
fn a_page_is_shown_by_its_topic_and_an_unknown_topic_is_told() {
    let workplace = Workplace::new("");
    workplace.medmerge(&["guide"]).assert().code(0).stdout(contains("merge-methods"));
    workplace.medmerge(&["guide", "keys"]).assert().code(0).stdout(contains("`batch_size`"));
    workplace.medmerge(&["guide", "stagse"]).assert().code(2).stderr(contains("did you mean `stages`?"));
    let schema = workplace.medmerge(&["schema"]).output().unwrap().stdout;
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    assert_eq!(schema["title"], "medmerge experiment");
}

#[test]
fn f13_the_readme_names_the_oldest_rust_and_a_compiler_before_the_first_command() {
    let readme = include_str!("../../README.md");
    let manifest = include_str!("../../Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let before = &readme[..readme.find("    cargo run --release").expect("the first command")];
    for needed in [version.expect("a version"), "rustup", "C compiler", "CMake", "minutes"] {
        assert!(before.contains(needed), "{needed}");
    }
}

#[test]
fn f14_the_guide_says_how_far_pixels_are_from_pils() {
    let page = include_str!("../../src/guide/data-sets.md");
    assert!(page.contains("### Pixels and PIL's") && page.contains("at most 2 levels"), "{page}");
}
