//! `digests/<key>`: what was read from files outside the store, so that they need not be read again while
//! nobody touches them.
//!
//! The key is a hash of what is read and of the paths. A note has two lines: a seal, and what was read, as
//! JSON. The seal is a hash, under the key, of that JSON and of the files' stamps; so a note is of use only if
//! it is whole, stands under its own name, and every file is what it was.
//!
//! | in a stamp | what it tells |
//! |---|---|
//! | length, mtime | that the content was changed |
//! | ctime | the same if a program set mtime back: ctime can be set by none |
//! | inode, device | that another file, however old, was put in its place |
//!
//! A file that was changed just now can be changed again within one tick of its file system's clock, and its
//! stamp stays the same. So nothing is noted unless every stamp was older than a tick before reading began.

use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use super::manifest::VERSION;

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// The coarsest tick of a file system's clock: FAT's.
const TICK: i128 = 2 * SECOND;

/// How far the clock of another file system (another machine's) may be from that of the store's.
const DRIFT: i128 = 3600 * SECOND;

/// Remembers in a store what was read from files outside it.
#[derive(Clone, Copy, Debug)]
pub struct Digests<'a> {
    store: &'a Store,
    /// The stamp of a file that the store's file system makes now.
    clock: fn(&Store) -> Option<Stamp>,
}

/// What the system says of a file without reading it; times in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: i128,
    changed: i128,
    inode: u64,
    device: u64,
}

impl<'a> Digests<'a> {
    /// Notes in this store.
    pub fn new(store: &'a Store) -> Self {
        Self { store, clock: now }
    }

    /// What `read` makes of files: from a note if nobody touched them since it was made, else by calling it.
    ///
    /// `what` names all that it depends on beside the files. `files` lists them; it is asked again after
    /// reading, since such a list may itself stand in a file. Of no file nothing is noted.
    ///
    /// # Errors
    /// Those of `read`. A note that cannot be written costs a warning.
    pub fn read_once<T: Serialize + DeserializeOwned, E>(
        &self,
        what: &str,
        files: impl Fn() -> Vec<PathBuf>,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let paths = files();
        if paths.is_empty() {
            return read();
        }
        let key = key(what, &paths);
        if let Some(noted) = stamps(&paths).and_then(|stamps| self.noted(&key, &stamps)) {
            return Ok(noted);
        }
        let before = self.settled_stamps(&paths);
        let value = read()?;
        let untouched = |before: &Vec<Stamp>| files() == paths && stamps(&paths).as_ref() == Some(before);
        if let Some(before) = before.filter(untouched) {
            self.note(&key, &before, &value);
        }
        Ok(value)
    }

    /// The stamps of the files, unless one is so young that a change might not show in it.
    fn settled_stamps(&self, paths: &[PathBuf]) -> Option<Vec<Stamp>> {
        let now = (self.clock)(self.store)?;
        stamps(paths).filter(|stamps| stamps.iter().all(|stamp| stamp.is_settled(&now)))
    }

    fn noted<T: DeserializeOwned>(&self, key: &blake3::Hash, stamps: &[Stamp]) -> Option<T> {
        let note = fs::read_to_string(self.path(key)).ok()?;
        let (sealed, json) = note.split_once('\n')?;
        if seal(key, stamps, json).to_hex().as_str() != sealed {
            return None;
        }
        serde_json::from_str(json).ok()
    }

    fn note(&self, key: &blake3::Hash, stamps: &[Stamp], value: &impl Serialize) {
        let json = serde_json::to_string(value).expect("what is noted has string keys only");
        let note = format!("{}\n{json}", seal(key, stamps, &json).to_hex());
        if let Err(error) = self.store.replace(&self.path(key), note.as_bytes()) {
            tracing::warn!("{error}; the same files are read again the next time");
        }
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.store.root().join("digests").join(key.to_hex().as_str())
    }
}

impl Stamp {
    /// Whether any change from now on gives the file another stamp. A file of the future never is.
    fn is_settled(&self, now: &Self) -> bool {
        let margin = if self.device == now.device { TICK } else { DRIFT };
        self.modified.max(self.changed) + margin <= now.modified
    }

    #[cfg(unix)]
    fn of(file: &fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * SECOND + i128::from(nanoseconds);
        Some(Self {
            bytes: file.size(),
            modified: time(file.mtime(), file.mtime_nsec()),
            changed: time(file.ctime(), file.ctime_nsec()),
            inode: file.ino(),
            device: file.dev(),
        })
    }

    /// Other systems tell too little.
    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Option<Self> {
        None
    }
}

/// The stamp of a file that is made for it and has no name.
fn now(store: &Store) -> Option<Stamp> {
    let file = tempfile::tempfile_in(store.root().join("digests"));
    Stamp::of(&file.and_then(|file| file.metadata()).ok()?)
}

/// One for each file; `None` if the system cannot tell one of them.
fn stamps(paths: &[PathBuf]) -> Option<Vec<Stamp>> {
    paths.par_iter().map(|path| Stamp::of(&path.metadata().ok()?)).collect()
}

/// Each part is preceded by its length, so that none can pass for another.
fn key(what: &str, paths: &[PathBuf]) -> blake3::Hash {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let paths: Vec<PathBuf> = paths.iter().map(absolute).collect();
    let parts = [VERSION.as_bytes(), what.as_bytes()].into_iter();
    let mut hasher = blake3::Hasher::new();
    for part in parts.chain(paths.iter().map(|path| path.as_os_str().as_encoded_bytes())) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize()
}

fn seal(key: &blake3::Hash, stamps: &[Stamp], json: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    for Stamp { bytes, modified, changed, inode, device } in stamps {
        for number in [bytes, inode, device] {
            hasher.update(&number.to_le_bytes());
        }
        for time in [modified, changed] {
            hasher.update(&time.to_le_bytes());
        }
    }
    hasher.update(json.as_bytes());
    hasher.finalize()
}

#[cfg(all(test, unix))]
mod tests {
    use std::cell::Cell;
    use std::fs::File;
    use std::path::Path;
    use std::time::SystemTime;

    use tempfile::TempDir;

    use super::*;

    const DAY: i128 = 24 * 3600 * SECOND;

    impl<'a> Digests<'a> {
        /// As if a day had passed since the files were written.
        pub(crate) fn later(store: &'a Store) -> Self {
            Self { store, clock: |store| at(store, DAY) }
        }
    }

    fn at(store: &Store, offset: i128) -> Option<Stamp> {
        now(store).map(|now| Stamp { modified: now.modified + offset, ..now })
    }

    /// A store, a file `a` and how often files were read.
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

        /// What stands in files, a day later.
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
        assert_eq!(lab.read(&["b", "a"]), "twoone", "another order is another thing");
        assert_eq!(lab.read(&["a"]), "one");
        assert_eq!(lab.reads.get(), 3);
    }

    #[test]
    fn another_thing_read_from_the_same_file_has_a_note_of_its_own() {
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
    fn a_file_put_in_its_place_is_read_though_length_and_mtime_are_the_same() {
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
        let (before, time) = (stamps(&[path.clone()]).unwrap(), modified(&path));
        // until the clock has ticked: the day that has passed is a pretence
        while stamps(&[path.clone()]).unwrap()[0].changed == before[0].changed {
            fs::write(&path, "two").unwrap();
            set_modified(&path, time);
        }
        let after = stamps(&[path]).unwrap();
        assert_eq!((after[0].bytes, after[0].modified), (before[0].bytes, before[0].modified));
        assert_eq!(lab.read(&["a"]), "two");
    }

    #[test]
    fn fresh_files_and_files_of_the_future_are_not_remembered() {
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
        assert!(!settled(1, 0), "a file of the future");
        assert!(settled(2, 3620 * SECOND) && !settled(2, 3620 * SECOND - 1));
        let touched = Stamp { modified: 30 * SECOND, ..file };
        assert!(!touched.is_settled(&Stamp { modified: 31 * SECOND, ..file }), "mtime counts");
    }

    #[test]
    fn a_note_that_was_damaged_anywhere_is_made_again() {
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
    fn a_note_under_the_name_of_another_is_of_no_use() {
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
    fn what_changes_while_it_is_read_is_not_remembered() {
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
    fn an_error_is_not_remembered_and_a_missing_file_is_left_to_the_reader() {
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
    fn a_note_that_cannot_be_written_costs_nothing_but_time() {
        let lab = Lab::new();
        lab.read(&["a"]);
        let note = lab.notes().remove(0);
        fs::remove_file(&note).unwrap();
        fs::create_dir(&note).unwrap();
        assert_eq!((lab.read(&["a"]), lab.read(&["a"]), lab.reads.get()), ("one".into(), "one".into(), 3));
    }
}
