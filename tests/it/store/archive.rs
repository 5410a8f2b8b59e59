//! Entries move between stores as they are, or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use medmerge::identity::{Field, Fingerprint};
use medmerge::stage::Artifact;
use medmerge::store::archive::Imported;
use medmerge::store::{EntryHeader, Store, StoreError};
use predicates::prelude::*;
use predicates::str::contains;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::{count, folder, header, store, text};
use crate::builder::{EXPERIMENT, Workplace};

/// What an entry depends on.
fn fields(digits: &str) -> Vec<Field> {
    let [a, b, c] = ["a1", "b2", "c3"].map(|digits| super::fingerprint(digits).to_string());
    let fields = [
        ("dataset.dataset", &*b),
        ("input.model", &a),
        ("input.model", &c),
        ("kind", "finetune"),
        ("revision", "1"),
        ("train.epochs", digits),
    ];
    fields.map(|(path, value)| Field::new(path, value)).into()
}

fn fingerprint(digits: &str) -> Fingerprint {
    Fingerprint::of(&fields(digits))
}

/// One artifact of each sort, with what it depends on.
fn artifacts() -> [(Fingerprint, Artifact); 3] {
    let [(_, model), (_, weights), (_, scores)] = super::artifacts();
    [(fingerprint("01"), model), (fingerprint("02"), weights), (fingerprint("03"), scores)]
}

fn put(store: &Store, digits: &str, artifact: &Artifact) {
    let header = EntryHeader { fields: fields(digits), ..header(&fingerprint(digits)) };
    store.put(header, artifact, "epoch 1 of 1\n").unwrap();
}

/// A store with one entry of each sort, and all of them as an archive.
fn exported() -> (TempDir, Store, PathBuf) {
    let (temporary, store) = store();
    for (digits, (_, artifact)) in ["01", "02", "03"].into_iter().zip(artifacts()) {
        put(&store, digits, &artifact);
    }
    let archive = temporary.path().join("all.zip");
    let length = store.export(&all(&store), &archive, &AtomicBool::default()).unwrap();
    assert_eq!(fs::metadata(&archive).unwrap().len(), length);
    (temporary, store, archive)
}

fn all(store: &Store) -> BTreeSet<Fingerprint> {
    store.fingerprints().unwrap().into_iter().collect()
}

/// Names and contents of the files of an archive.
type Files = Vec<(String, Vec<u8>)>;

fn unzip(archive: &Path) -> Files {
    let mut archive = ZipArchive::new(File::open(archive).unwrap()).unwrap();
    let mut files = Files::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        files.push((file.name().unwrap().into_owned(), bytes));
    }
    files
}

fn zip(files: &Files, archive: &Path) {
    let mut zip = ZipWriter::new(File::create(archive).unwrap());
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// What a new store takes from the archive of [`exported`] after this was done to its files.
fn import_changed(change: impl FnOnce(&mut Files)) -> (TempDir, Store, Result<Imported, StoreError>) {
    let (_temporary, _, archive) = exported();
    let mut files = unzip(&archive);
    change(&mut files);
    zip(&files, &archive);
    let (temporary, store) = store();
    let imported = store.import(&archive);
    assert_eq!(count(&store.root().join("staging")), 0);
    (temporary, store, imported)
}

#[test]
fn entries_come_as_they_were_and_once() {
    let (_here, from, archive) = exported();
    let (_there, to) = store();
    let imported = to.import(&archive).unwrap();
    assert_eq!(imported.added, from.fingerprints().unwrap());
    for (fingerprint, artifact) in artifacts() {
        assert_eq!(text(&to.get(&fingerprint).unwrap()), text(&artifact));
        for file in fs::read_dir(folder(&from, &fingerprint)).unwrap() {
            let name = file.unwrap().file_name();
            let read = |store: &Store| fs::read(folder(store, &fingerprint).join(&name)).unwrap();
            assert_eq!(read(&from), read(&to), "{name:?}");
        }
    }
    let again = to.import(&archive).unwrap();
    assert_eq!((again.added.len(), again.present), (0, from.fingerprints().unwrap()));
}

#[test]
fn the_same_entries_give_the_same_bytes() {
    let (here, from, archive) = exported();
    let (_there, to) = store();
    to.import(&archive).unwrap();
    let again = here.path().join("again.zip");
    to.export(&all(&from), &again, &AtomicBool::default()).unwrap();
    assert!(fs::read(&again).unwrap() == fs::read(&archive).unwrap());
    let names: Vec<_> = unzip(&archive).into_iter().map(|(name, _)| name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(count(here.path()), 3, "the store and two archives: nothing is left beside");
}

#[test]
fn a_changed_byte_in_any_file_keeps_its_entry_out_and_lets_the_others_in() {
    for changed in 0..unzip(&exported().2).len() {
        let mut name = String::new();
        let (_folder, store, imported) = import_changed(|files| {
            let (file, bytes) = &mut files[changed];
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            name = file.clone();
        });
        let imported = imported.unwrap();
        let (entry, file) = name.split_once('/').unwrap();
        let [problem] = &imported.damaged[..] else { panic!("{imported:?}") };
        let problem = problem.to_string();
        assert!(problem.contains(&entry[..12]) && problem.contains(file), "{problem}");
        assert_eq!(imported.added, store.fingerprints().unwrap());
        assert_eq!(imported.added.len(), 2, "{name}");
        assert!(!imported.added.iter().any(|added| added.to_string() == entry));
        assert_eq!(count(&store.root().join("damaged")), 0);
    }
}

#[test]
fn an_archive_that_was_cut_or_is_none_is_refused() {
    let (_here, _, archive) = exported();
    let whole = fs::read(&archive).unwrap();
    for bytes in [&whole[..whole.len() - 1], &whole[..whole.len() / 2], &[], b"not an archive"] {
        let (_there, store) = store();
        fs::write(&archive, bytes).unwrap();
        let error = store.import(&archive).unwrap_err().to_string();
        assert!(
            error.starts_with("failed to import anything from ") && error.contains("copy it completely"),
            "{error}"
        );
        assert!(store.fingerprints().unwrap().is_empty());
    }
    let (there, store) = store();
    let absent = there.path().join("absent.zip");
    assert!(store.import(&absent).unwrap_err().to_string().contains("absent.zip"));
}

#[test]
fn a_name_that_leads_elsewhere_refuses_the_whole_archive() {
    let entry = fingerprint("01").to_string();
    let names = [
        "../evil".into(),
        "/evil".into(),
        format!("{entry}/../../evil"),
        format!("{entry}/deep/evil"),
        "evil".into(),
    ];
    for name in names {
        let (folder, store, imported) = import_changed(|files| files.push((name.clone(), b"evil".into())));
        let error = imported.unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
        assert!(store.fingerprints().unwrap().is_empty());
        assert_eq!(count(folder.path()), 1, "{name}");
    }
}

#[test]
fn an_entry_with_other_files_than_its_manifest_lists_is_not_taken() {
    let entry = fingerprint("01").to_string();
    let [model, manifest] = ["model.safetensors", "manifest.json"].map(|name| format!("{entry}/{name}"));
    let other = fingerprint("09").to_string();
    type Change<'a> = &'a dyn Fn(&mut Files);
    let changes: [(Change<'_>, &str); 5] = [
        (
            &|files| files.push((format!("{entry}/extra.txt"), b"?".into())),
            "manifest.json does not list extra.txt",
        ),
        (&|files| files.retain(|(name, _)| *name != model), "model.safetensors is missing"),
        (&|files| files.retain(|(name, _)| *name != manifest), "manifest.json is missing"),
        (
            &|files| files.iter_mut().for_each(|(name, _)| *name = name.replace(&entry, &other)),
            "manifest.json belongs to another entry, ",
        ),
        (
            &|files| files.iter_mut().filter(|(name, _)| *name == model).for_each(|(_, bytes)| bytes.push(0)),
            "model.safetensors has ",
        ),
    ];
    for (change, words) in changes {
        let (_folder, store, imported) = import_changed(change);
        let imported = imported.unwrap();
        assert!(imported.damaged[0].to_string().contains(words), "{:?}", imported.damaged);
        assert_eq!((imported.damaged.len(), imported.added.len()), (1, 2));
        let others = BTreeSet::from([fingerprint("02"), fingerprint("03")]);
        assert_eq!(all(&store), others);
    }
}

#[test]
fn a_damaged_entry_is_not_exported_and_an_old_archive_stays() {
    let (here, store, archive) = exported();
    let before = fs::read(&archive).unwrap();
    let entries = all(&store);
    let log = folder(&store, &fingerprint("02")).join("log.txt");
    fs::write(log, "epoch 2 of 1\n").unwrap();
    assert!(matches!(
        store.export(&entries, &archive, &AtomicBool::default()),
        Err(StoreError::Damaged { .. })
    ));
    assert!(matches!(
        store.export(&entries, &archive, &AtomicBool::default()),
        Err(StoreError::Missing { .. })
    ));
    assert!(fs::read(&archive).unwrap() == before);
    assert_eq!(count(here.path()), 2, "nothing is left beside");
}

#[test]
fn an_archive_that_cannot_be_written_is_named() {
    let (here, store, _) = exported();
    let error = store
        .export(&all(&store), &here.path().join("absent/all.zip"), &AtomicBool::default())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("failed to write the archive ") && error.contains("absent/all.zip"), "{error}");
}

#[test]
fn what_one_machine_made_is_fresh_on_another() {
    let one_seed = EXPERIMENT.replace("seed = [0, 1]", "seed = [0]");
    let [here, there] = [(); 2].map(|()| Workplace::new(&one_seed));
    here.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let scores = fs::read(here.path("results/tiny/metrics.csv")).unwrap();
    let archive = there.path("tiny.zip");
    let archive = archive.to_str().unwrap();
    let export = ["store", "export", archive, "--experiment", "experiment.toml"];
    here.medmerge(&export).assert().code(0).stdout(contains("tiny.zip: 9 entries, "));
    let import = there.medmerge(&["store", "import", "tiny.zip"]).assert().code(0);
    import.stdout("tiny.zip: 9 entries imported, 0 already present, 0 damaged\n");
    there.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 0, fresh 9"));
    assert_eq!(fs::read(there.path("results/tiny/metrics.csv")).unwrap(), scores);

    let store = Store::open(&here.path(".medmerge")).unwrap();
    let list = here.medmerge(&["store", "list", "--json"]).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let merged =
        list.as_array().unwrap().iter().find(|entry| entry["stage_ids"][0] == "merged[seed=0]").unwrap();
    let merged = merged["fingerprint"].as_str().unwrap();
    here.medmerge(&["store", "export", "one.zip", &merged[..12]])
        .assert()
        .code(0)
        .stdout(contains(": 1 entry"));
    store.remove(&merged.parse::<Fingerprint>().unwrap()).unwrap();
    let missing =
        contains("the archive of tiny is incomplete; these stages have not finished: merged[seed=0]");
    here.medmerge(&export).assert().code(0).stdout(contains(": 8 entries, ")).stderr(missing);
}

#[test]
fn what_cannot_be_exported_or_imported_is_told() {
    let lab = Workplace::new(EXPERIMENT);
    let nothing = contains("failed to find anything to export").and(contains("--device"));
    let export = ["store", "export", "all.zip", "--experiment", "experiment.toml"];
    lab.medmerge(&export).assert().code(2).stderr(nothing);
    lab.medmerge(&["store", "export", "all.zip", "0a"])
        .assert()
        .code(2)
        .stderr(contains("medmerge store list"));
    assert!(!lab.path("all.zip").exists());
    let lab = lab.with("text.zip", "not an archive");
    let import = lab.medmerge(&["store", "import", "text.zip"]).assert().code(4);
    import.stderr(contains("failed to import anything from text.zip"));
}

/// The manifest of an entry after a change of its text, with the digest that it then has.
fn change_manifest(files: &mut Files, entry: &Fingerprint, change: impl FnOnce(&str) -> String) {
    const SEAL: &str = ",\n  \"blake3\": \"";
    let (_, bytes) = files.iter_mut().find(|(name, _)| *name == format!("{entry}/manifest.json")).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let content = change(text.rsplit_once(SEAL).unwrap().0);
    assert_ne!(content, text);
    *bytes = format!("{content}{SEAL}{}\"\n}}", blake3::hash(content.as_bytes())).into_bytes();
}

#[test]
fn f17_an_entry_that_is_not_what_its_fingerprint_says_is_refused() {
    let entry = fingerprint("01");
    let without_fields = |text: &str| {
        let (before, rest) = text.split_once("\"fields\": [").unwrap();
        format!("{before}\"fields\": [{}", &rest[rest.find("\n  ]").unwrap()..])
    };
    let replaced = |from: &'static str, to: &'static str| move |text: &str| text.replacen(from, to, 1);
    let input = |text: &str| {
        let (before, rest) = text.split_once("\"inputs\": [").unwrap();
        format!("{before}\"inputs\": [{}", rest.replacen(&"a1".repeat(32), &"d4".repeat(32), 1))
    };
    type Change = Box<dyn FnOnce(&str) -> String>;
    let cases: [(&str, Change); 6] = [
        ("do not have the entry's fingerprint", Box::new(replaced("\"value\": \"01\"", "\"value\": \"09\""))),
        ("has no fields", Box::new(without_fields)),
        (
            "there is no kind of stage `finetun`",
            Box::new(replaced("\"kind\": \"finetune\"", "\"kind\": \"finetun\"")),
        ),
        ("`kind` is merge", Box::new(replaced("\"kind\": \"finetune\"", "\"kind\": \"merge\""))),
        ("`revision` is 2", Box::new(replaced("\"revision\": 1", "\"revision\": 2"))),
        ("`input.model` is d4d4", Box::new(input)),
    ];
    for (told, change) in cases {
        let (_folder, _, imported) = import_changed(|files| change_manifest(files, &entry, change));
        let imported = imported.unwrap();
        let [problem] = &imported.damaged[..] else { panic!("{imported:?}") };
        assert!(problem.to_string().contains(told), "{told}: {problem}");
        assert_eq!(imported.added.len(), 2);
    }
}

#[test]
fn f17_a_file_of_another_length_than_the_manifest_says_is_refused() {
    let entry = fingerprint("01");
    let log = format!("{entry}/log.txt");
    for content in ["epoch 1 of 1\nand more", "epoch"] {
        let (_folder, _, imported) = import_changed(|files| {
            files.iter_mut().find(|(name, _)| *name == log).unwrap().1 = content.into();
        });
        let imported = imported.unwrap();
        let told = format!("log.txt has {} bytes, expected 13", content.len());
        assert!(imported.damaged[0].to_string().contains(&told), "{imported:?}");
    }
}
