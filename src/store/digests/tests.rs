use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use tempfile::TempDir;

use super::testing::{DAY, at};
use super::*;

/// A store, a file `a` and the number of times files were read.
struct Lab {
    folder: TempDir,
    store: Store,
    reads: Cell<usize>,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "one").unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { folder, store, reads: Cell::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The content of files, a day later.
    fn read(&self, names: &[&str]) -> String {
        self.read_by(Digests::later(&self.store), names)
    }

    fn read_by(&self, digests: Digests<'_>, names: &[&str]) -> String {
        let paths: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        let read = || {
            self.reads.set(self.reads.get() + 1);
            paths.iter().map(fs::read_to_string).collect::<Result<String, _>>()
        };
        digests.read_once("text", || paths.clone(), read).unwrap()
    }

    fn notes(&self) -> Vec<PathBuf> {
        let notes = fs::read_dir(self.store.root().join("digests")).unwrap();
        notes.map(|note| note.unwrap().path()).collect()
    }
}

fn modified(path: &Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn untouched_files_are_read_once() {
    let lab = Lab::new();
    fs::write(lab.path("b"), "two").unwrap();
    for _ in 0..3 {
        assert_eq!(lab.read(&["a", "b"]), "onetwo");
    }
    assert_eq!((lab.reads.get(), lab.notes().len()), (1, 1));
    assert_eq!(lab.read(&["b", "a"]), "twoone", "the order of files matters");
    assert_eq!(lab.read(&["a"]), "one");
    assert_eq!(lab.reads.get(), 3);
}

#[test]
fn another_value_read_from_the_same_file_has_its_own_note() {
    let lab = Lab::new();
    let digests = Digests::later(&lab.store);
    let read = |what: &str, value: usize| {
        digests.read_once(what, || vec![lab.path("a")], || Ok::<_, ()>(value)).unwrap()
    };
    assert_eq!((read("length", 3), read("lines", 1)), (3, 1));
    assert_eq!((read("length", 0), read("lines", 0)), (3, 1));
}

#[test]
fn a_changed_file_is_read_again() {
    let lab = Lab::new();
    lab.read(&["a"]);
    fs::write(lab.path("a"), "longer").unwrap();
    assert_eq!(lab.read(&["a"]), "longer");
}

#[test]
fn a_replaced_file_is_read_even_if_length_and_mtime_are_equal() {
    let lab = Lab::new();
    lab.read(&["a"]);
    let time = modified(&lab.path("a"));
    fs::write(lab.path("new"), "two").unwrap();
    set_modified(&lab.path("new"), time);
    fs::rename(lab.path("new"), lab.path("a")).unwrap();
    assert_eq!(modified(&lab.path("a")), time);
    assert_eq!(lab.read(&["a"]), "two");
}

#[test]
fn a_file_rewritten_with_its_mtime_set_back_is_read_again() {
    let lab = Lab::new();
    let path = lab.path("a");
    lab.read(&["a"]);
    let stamp = || Stamp::of(&path.metadata().unwrap()).unwrap();
    let (before, time) = (stamp(), modified(&path));
    // wait for a tick of the clock: the day that has passed is simulated
    while stamp().changed == before.changed {
        fs::write(&path, "two").unwrap();
        set_modified(&path, time);
    }
    assert_eq!((stamp().bytes, stamp().modified), (before.bytes, before.modified));
    assert_eq!(lab.read(&["a"]), "two");
}

#[test]
fn recent_files_and_files_in_the_future_are_not_cached() {
    let lab = Lab::new();
    let set_back = Digests { store: &lab.store, clock: |store| at(store, -DAY) };
    lab.read_by(set_back, &["a"]);
    lab.read_by(set_back, &["a"]);
    assert_eq!((lab.reads.get(), lab.notes().len()), (2, 0));
}

#[test]
fn a_stamp_is_settled_after_a_tick_and_on_another_device_after_an_hour() {
    let file = Stamp { bytes: 1, modified: 10 * SECOND, changed: 20 * SECOND, inode: 1, device: 1 };
    let settled = |device, modified| file.is_settled(&Stamp { modified, device, ..file });
    assert!(settled(1, 22 * SECOND) && !settled(1, 22 * SECOND - 1), "ctime counts");
    assert!(!settled(1, 0), "a file in the future");
    assert!(settled(2, 3620 * SECOND) && !settled(2, 3620 * SECOND - 1));
    let touched = Stamp { modified: 30 * SECOND, ..file };
    assert!(!touched.is_settled(&Stamp { modified: 31 * SECOND, ..file }), "mtime counts");
}

#[test]
fn a_damaged_note_is_rewritten() {
    let lab = Lab::new();
    lab.read(&["a"]);
    let [note] = &lab.notes()[..] else { panic!("one note") };
    let whole = fs::read(note).unwrap();
    for i in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[i] ^= 1;
        fs::write(note, damaged).unwrap();
        assert_eq!(lab.read(&["a"]), "one");
        assert_eq!((lab.reads.get(), fs::read(note).unwrap()), (i + 2, whole.clone()));
    }
    for cut in ["", "\n", "not UTF-8: \u{fffd}"] {
        fs::write(note, cut).unwrap();
        assert_eq!(lab.read(&["a"]), "one");
    }
    assert_eq!(lab.reads.get(), whole.len() + 4);
}

#[test]
fn a_note_under_another_name_is_invalid() {
    let lab = Lab::new();
    fs::hard_link(lab.path("a"), lab.path("b")).unwrap();
    lab.read(&["a"]);
    let first = lab.notes().remove(0);
    lab.read(&["b"]);
    let second = lab.notes().into_iter().find(|note| *note != first).unwrap();
    fs::copy(first, second).unwrap();
    assert_eq!(lab.read(&["b"]), "one");
    assert_eq!(lab.reads.get(), 3);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_cached() {
    let lab = Lab::new();
    let digests = Digests::later(&lab.store);
    let growing = || {
        let text = fs::read_to_string(lab.path("a")).unwrap();
        fs::write(lab.path("a"), format!("{text}!")).map(|()| text)
    };
    let files = || vec![lab.path("a")];
    assert_eq!(digests.read_once("text", files, growing).unwrap(), "one");
    assert_eq!(digests.read_once("text", files, growing).unwrap(), "one!");
    let listed = Cell::new(0);
    let list = || {
        listed.set(listed.get() + 1);
        if listed.get() % 2 == 0 { vec![] } else { vec![lab.path("a")] }
    };
    digests.read_once("list", list, || Ok::<_, ()>(0)).unwrap();
    assert_eq!(lab.notes().len(), 0);
}

#[test]
fn errors_are_not_cached_and_missing_files_are_left_to_the_reader() {
    let lab = Lab::new();
    let digests = Digests::later(&lab.store);
    let fails = digests.read_once("text", || vec![lab.path("a")], || Err::<(), _>("broken"));
    assert_eq!(fails, Err("broken"));
    let missing = digests.read_once("text", || vec![lab.path("none")], || Err::<(), _>("missing"));
    assert_eq!((missing, lab.notes().len()), (Err("missing"), 0));
}

#[test]
fn a_moved_store_keeps_its_notes() {
    let mut lab = Lab::new();
    lab.read(&["a"]);
    fs::rename(lab.path("store"), lab.path("elsewhere")).unwrap();
    lab.store = Store::open(&lab.path("elsewhere")).unwrap();
    assert_eq!((lab.read(&["a"]), lab.reads.get()), ("one".into(), 1));
}

#[test]
fn a_note_that_cannot_be_written_only_costs_time() {
    let lab = Lab::new();
    lab.read(&["a"]);
    let note = lab.notes().remove(0);
    fs::remove_file(&note).unwrap();
    fs::create_dir(&note).unwrap();
    assert_eq!((lab.read(&["a"]), lab.read(&["a"]), lab.reads.get()), ("one".into(), "one".into(), 3));
}
