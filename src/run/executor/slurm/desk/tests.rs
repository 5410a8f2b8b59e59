//! Tests of the folder where a run and its allocations meet.

use super::*;

fn fingerprint(name: &str) -> Fingerprint {
    Fingerprint::of_parts([name])
}

fn node(name: &str, inputs: &[&str], memory: u64) -> Node {
    let inputs = inputs.iter().map(|name| fingerprint(name)).collect();
    Node { fingerprint: fingerprint(name), inputs, memory }
}

#[test]
fn the_most_urgent_order_that_is_ready_and_fits_is_next() {
    let nodes = vec![node("tuned", &["source"], 0), node("large", &[], 800), node("small", &[], 0)];
    let graph = Graph { nodes };
    let next = |open: &[&str], taken: &[&str], memory, made: &[&str]| {
        let open = open.iter().map(|name| fingerprint(name)).collect();
        let taken = taken.iter().map(|name| (fingerprint(name), "1_0.0".to_owned())).collect();
        let is_made = |of: &Fingerprint| made.iter().any(|name| fingerprint(name) == *of);
        next_order(&graph, &open, &taken, memory, is_made).copied()
    };
    let all = ["tuned", "large", "small"];
    assert_eq!(next(&all, &[], 800, &["source"]), Some(fingerprint("tuned")));
    assert_eq!(next(&all, &[], 800, &[]), Some(fingerprint("large")), "an input is missing");
    assert_eq!(next(&all, &[], 400, &[]), Some(fingerprint("small")), "memory is missing");
    let again = next(&all, &["source"], 800, &["source"]);
    assert_eq!(again, Some(fingerprint("large")), "an input is being made again");
    assert_eq!(next(&["tuned"], &[], 800, &[]), None);
}

#[test]
fn notes_are_read_once_and_when_they_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open(folder.path()).unwrap();
    let path = desk.events("7_0.0");
    let append = |text: &str| {
        let file = File::options().create(true).append(true).open(&path);
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    let mut tails = Tails::default();
    append("\"alive\"\n{\"left\":\"id");
    assert_eq!(tails.notes(&desk).unwrap(), [("7_0.0".to_owned(), Note::Alive)]);
    append("le\"}\n");
    assert_eq!(tails.notes(&desk).unwrap(), [("7_0.0".to_owned(), Note::Left(Left::Idle))]);
    assert_eq!(tails.notes(&desk).unwrap(), []);
}

#[test]
fn a_worker_gets_further_by_training_since_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open(folder.path()).unwrap();
    let say = |name: &str, message: Message| {
        let line = serde_json::to_string(&Note::Said { of: fingerprint(name), message }).unwrap();
        let file = File::options().create(true).append(true).open(desk.events("7_0.0"));
        file.unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    };
    let got_further = || desk.got_further(&fingerprint("a"), "7_0.0").unwrap();
    assert!(!got_further(), "it said nothing");
    say("a", Message::Started);
    say("a", Message::Progress(train::Progress::Count { done: 1, of: 2, what: "images".into() }));
    say("b", Message::Progress(train::Progress::Epoch(Default::default())));
    assert!(!got_further(), "a count starts over, and another stage is none of its own");
    say("a", Message::Progress(train::Progress::Epoch(Default::default())));
    assert!(got_further());
    say("a", Message::Started);
    assert!(!got_further(), "it started again");
}

#[test]
fn a_stage_that_is_stopped_fails_at_the_third_time_in_a_row_without_getting_further() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open(folder.path()).unwrap();
    let mut fails = |progressed| desk.stopped(&fingerprint("a"), progressed).unwrap().is_some();
    let stops = [false, false, true, false, false, false].map(&mut fails);
    assert_eq!(stops, [false, false, false, false, false, true]);
}

#[test]
fn an_order_that_moved_although_the_answer_was_lost_has_moved() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["a", "b"].map(|name| folder.path().join(name));
    assert!(!moved(&from, &to).unwrap());
    fs::write(&from, "").unwrap();
    assert!(moved(&from, &to).unwrap() && moved(&from, &to).unwrap());
}
