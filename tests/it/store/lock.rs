//! One at a time holds a lock, among threads and among processes, though its file comes and goes.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use medmerge::store::{Lock, Store};

use super::{count, fingerprint, store};

/// The store of a process that a test starts: this program again, with the one test.
const STORE: &str = "MEDMERGE_TEST_STORE";

fn child(test: &str, store: &Store) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", &format!("store::lock::{test}")]).env(STORE, store.root());
    command
}

/// The store that this process was started for, if a test started it.
fn given() -> Option<Store> {
    env::var_os(STORE).map(|root| Store::open(Path::new(&root)).unwrap())
}

fn counter(store: &Store) -> std::path::PathBuf {
    store.root().join("counter")
}

/// Reads, adds one and writes: two at once would lose an increment, or read half a number.
fn increment(store: &Store) {
    let number: usize = fs::read_to_string(counter(store)).unwrap().parse().unwrap();
    fs::write(counter(store), (number + 1).to_string()).unwrap();
}

fn without_waiting(store: &Store) -> Lock {
    loop {
        if let Some(lock) = store.try_lock(&fingerprint("01")).unwrap() {
            return lock;
        }
        std::thread::yield_now();
    }
}

/// Half of the threads wait for the lock, half of them try again and again.
fn increment_in_threads(store: &Store, threads: usize, times: usize) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for _ in 0..times {
                    let waits = thread % 2 == 0;
                    let lock =
                        if waits { store.lock(&fingerprint("01")).unwrap() } else { without_waiting(store) };
                    increment(store);
                    drop(lock);
                }
            });
        }
    });
}

fn assert_counted(store: &Store, number: usize) {
    assert_eq!(fs::read_to_string(counter(store)).unwrap(), number.to_string());
    if cfg!(unix) {
        assert_eq!(count(&store.root().join("locks")), 0, "no file is left");
    }
}

#[test]
fn threads_take_turns() {
    let (_folder, store) = store();
    fs::write(counter(&store), "0").unwrap();
    increment_in_threads(&store, 8, 200);
    assert_counted(&store, 1600);
}

#[test]
fn processes_take_turns() {
    if let Some(store) = given() {
        return increment_in_threads(&store, 2, 100);
    }
    let (_folder, store) = store();
    fs::write(counter(&store), "0").unwrap();
    let start = |_| child("processes_take_turns", &store).stdout(Stdio::null()).spawn().unwrap();
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    assert_counted(&store, 800);
}

#[test]
fn a_killed_holder_keeps_nobody_from_the_lock() {
    if let Some(store) = given() {
        let _lock = store.lock(&fingerprint("01")).unwrap();
        println!("locked");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let (_folder, store) = store();
    let mut holder = child("a_killed_holder_keeps_nobody_from_the_lock", &store);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("locked")));
    assert!(store.try_lock(&fingerprint("01")).unwrap().is_none());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(count(&store.root().join("locks")), 1, "nobody was there to remove the file");
    drop(store.lock(&fingerprint("01")).unwrap());
    if cfg!(unix) {
        assert_eq!(count(&store.root().join("locks")), 0);
    }
}

#[cfg(unix)]
#[test]
fn a_lock_whose_file_somebody_removed_takes_away_no_other() {
    let (_folder, store) = store();
    let old = store.lock(&fingerprint("01")).unwrap();
    fs::remove_dir_all(store.root().join("locks")).unwrap();
    Store::open(store.root()).unwrap();
    let new = store.lock(&fingerprint("01")).unwrap();
    drop(old);
    assert!(store.try_lock(&fingerprint("01")).unwrap().is_none(), "the new one is still held");
    drop(new);
    assert!(store.try_lock(&fingerprint("01")).unwrap().is_some());
}
