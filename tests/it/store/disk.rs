//! A disk that is full, a store that may not be written, a store that goes while it is in use.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use medmerge::store::gc::Keep;
use medmerge::store::{Store, StoreError};
use predicates::str::contains;

use super::{artifacts, fingerprint, header, put, store};
use crate::builder::{EXPERIMENT, Workplace};
use crate::not_tested::{Need, not_tested};

fn lab() -> Workplace {
    Workplace::new(&EXPERIMENT.replace("seed = [0, 1]", "seed = [0]"))
}

/// Runs a script in the folder, with the program as `$MEDMERGE`.
fn script(lab: &Workplace, shell: &[&str], script: &str) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["bash", "-c", script]);
    for name in ["MEDMERGE_STORE", "MEDMERGE_RESULTS", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.env("MEDMERGE", env!("CARGO_BIN_EXE_medmerge")).current_dir(lab.path("")).output().unwrap()
}

/// The same where mounts are seen by the script alone; `None` if this user may not mount.
fn script_with_mounts(lab: &Workplace, text: &str) -> Option<Output> {
    let shell = ["unshare", "--map-root-user", "--mount"];
    fs::create_dir_all(lab.path("probe")).unwrap();
    let mut probe = Command::new(shell[0]);
    probe.args(&shell[1..]).args(["mount", "-t", "tmpfs", "none"]).arg(lab.path("probe"));
    let probe = probe.output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        not_tested(Need::Mounts, "this user may not mount a disk");
        return None;
    }
    Some(script(lab, &shell, text))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_no_room(output: &Output) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("failed to write ") && stderr.contains("/.medmerge/staging/"), "{stderr}");
    assert!(stderr.contains("free some space on the disk or in the quota"), "{stderr}");
}

#[test]
fn files_that_may_not_be_so_large_leave_no_entry_and_the_next_run_goes_on() {
    let lab = lab();
    // In KiB: enough for decoded images, too little for a model. The signal would end the program.
    let limited =
        script(&lab, &["env"], "trap '' XFSZ; ulimit -f 100; exec \"$MEDMERGE\" run experiment.toml");
    assert_no_room(&limited);
    let store = Store::open(&lab.path(".medmerge")).unwrap();
    assert!(store.fingerprints().unwrap().is_empty());
    assert_eq!(fs::read_dir(lab.path(".medmerge/staging")).unwrap().count(), 0);
    lab.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 9, fresh 0"));
}

#[test]
fn an_archive_for_which_there_is_no_room_is_told_in_one_line_and_leaves_nothing() {
    let lab = lab();
    lab.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    fs::create_dir(lab.path("out")).unwrap();
    let export = "trap '' XFSZ; ulimit -f 100; exec \"$MEDMERGE\" store export out/all.zip";
    let limited = script(&lab, &["env"], export);
    let stderr = text(&limited.stderr);
    assert_eq!(limited.status.code(), Some(4), "{stderr}");
    assert!(
        stderr.starts_with("error: failed to write the archive out/all.zip: ")
            && stderr.contains("free some space")
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(fs::read_dir(lab.path("out")).unwrap().count(), 0);
}

#[test]
fn a_disk_without_room_is_told_before_anything_starts() {
    let lab = lab();
    let text_of_script = r#"
        mkdir .medmerge && mount -t tmpfs -o size=3m none .medmerge || exit 99
        "$MEDMERGE" run experiment.toml; echo $? >code
        mount -o remount,size=100m .medmerge || exit 97
        "$MEDMERGE" run experiment.toml --quiet && "$MEDMERGE" store verify >verified"#;
    let Some(output) = script_with_mounts(&lab, text_of_script) else { return };
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(fs::read_to_string(lab.path("code")).unwrap(), "4\n", "{stderr}");
    assert!(stderr.contains("error: failed to start: the results need about "), "{stderr}");
    assert!(!stderr.contains("source_a"), "{stderr}");
    assert!(fs::read_to_string(lab.path("verified")).unwrap().starts_with("9 entries, all intact\n"));
}

#[test]
fn a_disk_that_another_program_fills_keeps_what_is_whole_and_the_next_run_goes_on() {
    let lab = lab();
    // The other program leaves no room when the first stages have begun.
    let text_of_script = r#"
        mkdir .medmerge && mount -t tmpfs -o size=60m none .medmerge || exit 99
        "$MEDMERGE" run experiment.toml & run=$!
        until [ -n "$(ls .medmerge/partial 2>/dev/null)" ]; do sleep 0.01; done
        dd if=/dev/zero of=.medmerge/filler bs=1M 2>/dev/null
        wait $run; echo $? >code
        rm .medmerge/filler
        "$MEDMERGE" store verify >verified || exit 98
        "$MEDMERGE" run experiment.toml --quiet && "$MEDMERGE" store verify >verified_again"#;
    let Some(output) = script_with_mounts(&lab, text_of_script) else { return };
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(fs::read_to_string(lab.path("code")).unwrap(), "4\n", "{stderr}");
    assert!(stderr.contains(".medmerge/") && stderr.contains("; free some space"), "{stderr}");
    let verified = fs::read_to_string(lab.path("verified")).unwrap();
    assert!(verified.contains(", all intact\n") && !verified.starts_with("9 "), "{verified}");
    assert!(fs::read_to_string(lab.path("verified_again")).unwrap().starts_with("9 entries, all intact\n"));
    let undisturbed = self::lab();
    undisturbed.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let scores = |lab: &Workplace| fs::read(lab.path("results/tiny/metrics.csv")).unwrap();
    assert_eq!(scores(&lab), scores(&undisturbed));
}

#[test]
fn a_store_that_may_not_be_written_is_told_with_what_to_do() {
    let lab = lab();
    Store::open(&lab.path(".medmerge")).unwrap();
    let read_only = r#"
        mount --bind .medmerge .medmerge && mount -o remount,bind,ro .medmerge || exit 99
        exec "$MEDMERGE" run experiment.toml"#;
    let Some(output) = script_with_mounts(&lab, read_only) else { return };
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains(" .medmerge/"), "{stderr}");
    assert!(stderr.contains("choose another folder with --store or MEDMERGE_STORE"), "{stderr}");
}

#[test]
fn a_store_below_a_file_is_told_with_its_path() {
    let lab = lab().with("notes.txt", "");
    let run = lab.medmerge(&["run", "experiment.toml", "--store", "notes.txt/store"]).assert().code(4);
    run.stderr(contains("failed to create the folder notes.txt/store"));
}

#[test]
fn a_store_that_goes_while_it_is_in_use_is_told_and_not_made_again() {
    let (folder, store) = store();
    let [(entry, artifact), ..] = artifacts();
    put(&store, &entry, &artifact);
    let lock = store.lock(&fingerprint("02")).unwrap();
    fs::remove_dir_all(store.root()).unwrap();
    let notes = [("source".to_string(), entry)];
    let archive = folder.path().join("all.zip");
    let said = [
        store.manifest(&entry).err(),
        store.get(&entry).err(),
        store.put(header(&entry), &artifact, "").err(),
        store.lock(&entry).err(),
        store.try_lock(&entry).err(),
        store.remove(&entry).err(),
        store.fingerprints().err(),
        store.remember("tiny", &notes).err(),
        store.lock_run("tiny").err(),
        store.leftovers(&Keep::default()).err(),
        store.verify_images().err(),
        store.available_bytes().err(),
        store.export(&BTreeSet::from([entry]), &archive, &std::sync::atomic::AtomicBool::default()).err(),
    ];
    for (call, said) in said.into_iter().enumerate() {
        let said = said.unwrap_or_else(|| panic!("call {call} went well"));
        assert!(matches!(&said, StoreError::Gone { root } if root == store.root()), "call {call}: {said}");
        assert!(said.to_string().contains("was removed or moved while it was in use; put it back"), "{said}");
    }
    drop(lock);
    assert!(!store.root().exists() && !archive.exists());
    Store::open(store.root()).unwrap();
    put(&store, &entry, &artifact);
}

#[cfg(target_os = "linux")]
#[test]
fn the_free_space_is_not_more_than_the_disk_has() {
    let (folder, store) = store();
    let df = Command::new("df").args(["--output=size", "-B1"]).arg(folder.path()).output().unwrap();
    let size: u64 = text(&df.stdout).lines().last().unwrap().trim().parse().unwrap();
    let free = store.available_bytes().unwrap().unwrap();
    assert!(0 < free && free <= size, "{free} of {size}");
}
