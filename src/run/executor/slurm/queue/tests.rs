//! Tests with scripts that stand in for Slurm's programs.

use std::os::unix::fs::PermissionsExt;

use super::super::script::Request;
use super::super::settings::Settings;
use super::*;
use tempfile::TempDir;

/// A folder with a desk and programs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a program that runs this script, in which `$here` is the folder.
    fn with(self, program: &str, script: &str) -> Self {
        let path = self.0.path().join(program);
        let text = format!("#!/bin/bash\nhere={}\n{script}\n", self.0.path().display());
        // Renamed into place: a file that another test's process still writes to cannot be started.
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::set_permissions(path.with_extension("new"), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
        self
    }

    fn allocations(&self, interval: Duration) -> Allocations {
        let desk = Desk::open(&self.0.path().join("desk")).unwrap();
        let workers = Workers { program: "medmerge".into(), arguments: vec![], devices: vec![] };
        let mut allocations =
            Allocations::new(&desk, self.0.path(), &workers, "medmerge-tiny".into(), interval).unwrap();
        let client = Client::new(desk.root().join("calls.log"));
        allocations.client = client.with_programs(self.0.path());
        allocations
    }

    /// What programs noted in a file, line by line.
    fn noted(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Records of submissions.
    fn records(&self, allocations: &Allocations) -> Vec<Submission> {
        let tokens = allocations.desk.submissions().unwrap();
        let path = |token: &String| allocations.desk.submission(token, "json");
        tokens.iter().map(|token| allocations.desk.read(&path(token)).unwrap().unwrap()).collect()
    }
}

/// The usual time between two queries.
const USUAL: Duration = Duration::from_secs(64);

/// Answers with a number, and notes it and the array.
const ACCEPT: &str = "echo \"$2\" >>\"$here/arrays\"; wc -l <\"$here/arrays\"";

const BUSY: &str =
    "echo \"$2\" >>\"$here/arrays\"; echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1";

fn request() -> Request {
    let workers = Workers { program: "medmerge".into(), arguments: vec![], devices: vec![] };
    Request::new(&Settings::default(), &[], &workers)
}

#[test]
fn arrays_are_no_larger_than_slurm_allows() {
    let place = Place::new().with("sbatch", ACCEPT).with("scontrol", "echo 'MaxArraySize            = 2'");
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 5).unwrap();
    assert_eq!(place.noted("arrays"), ["--array=0-1", "--array=0-1", "--array=0-0"]);
    let ids: Vec<_> = allocations.living.keys().collect();
    assert_eq!(ids, ["1_0", "1_1", "2_0", "2_1", "3_0"]);
    allocations.submit(&request(), 2).unwrap();
    let asked = std::fs::read_to_string(place.0.path().join("desk/calls.log")).unwrap();
    assert_eq!(asked.matches("scontrol").count(), 1, "the size of arrays is asked for once");
}

#[test]
fn a_full_queue_is_tried_with_half_as_many_and_then_later() {
    let place = Place::new().with("sbatch", BUSY).with("scontrol", "exit 1");
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 4).unwrap();
    assert_eq!(place.noted("arrays"), ["--array=0-3", "--array=0-1", "--array=0-0"]);
    assert!(allocations.living.is_empty() && allocations.news.len() == 1, "{:?}", allocations.news);
    assert!(place.records(&allocations).is_empty(), "what was not submitted is not recorded");
    allocations.submit(&request(), 4).unwrap();
    assert_eq!(place.noted("arrays").len(), 3, "it is not yet time to");
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let now = Instant::now();
        pauses.push((allocations.submit_at - now).as_secs_f64().round() as u64);
        allocations.submit_at = now;
        allocations.submit(&request(), 1).unwrap();
    }
    assert_eq!(pauses, [15, 30, 60, 120, 240, 300]);
    let place = place.with("sbatch", ACCEPT);
    allocations.submit_at = Instant::now();
    allocations.submit(&request(), 1).unwrap();
    assert_eq!((allocations.living.len(), allocations.submit_interval), (1, SUBMIT[0]));
    assert_eq!(place.records(&allocations).len(), 1);
}

#[test]
fn a_room_for_some_is_filled() {
    let room = "[ \"$2\" = --array=0-0 ] || { echo MaxSubmitJobs >&2; exit 1; }";
    let place = Place::new().with("sbatch", &format!("{room}\n{ACCEPT}")).with("scontrol", "exit 1");
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 3).unwrap();
    let ids: Vec<_> = allocations.living.keys().collect();
    assert_eq!(ids, ["1_0", "2_0", "3_0"]);
}

#[test]
fn what_is_submitted_is_recorded_before_and_after_slurm_answers() {
    let before = "cp \"${3%.sh}.json\" \"$here/before\"; echo 7";
    let place = Place::new().with("sbatch", before);
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 1).unwrap();
    let before: Submission = serde_json::from_str(&place.noted("before").concat()).unwrap();
    assert!(!before.is_answered());
    let after = std::fs::read_dir(place.0.path().join("desk/submissions")).unwrap();
    let json = after.map(|file| file.unwrap().path()).find(|path| path.extension().unwrap() == "json");
    let after: serde_json::Value = serde_json::from_slice(&std::fs::read(json.unwrap()).unwrap()).unwrap();
    assert_eq!((&after["array"], &after["count"], &after["memory"]), (&"7".into(), &1.into(), &512.into()));
    let script = after["command"][1].as_str().unwrap();
    assert!(std::fs::read_to_string(script).unwrap().contains("#SBATCH --mem=512M"));
    let environment = after["environment"].as_object().unwrap();
    assert!(environment.contains_key("PATH") && !environment.contains_key("HOME"));
}

#[test]
fn a_submission_without_an_answer_is_looked_for_until_it_would_be_listed() {
    let silence = "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1";
    let list = "cat \"$here/jobs\" 2>/dev/null; exit 0";
    let place = Place::new().with("sbatch", silence).with("squeue", list);
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 1).unwrap();
    assert!(allocations.is_in_doubt() && allocations.living.is_empty());
    let query = |allocations: &mut Allocations| {
        allocations.query_at = Instant::now();
        allocations.query().unwrap();
    };
    query(&mut allocations);
    assert!(allocations.is_in_doubt(), "it may be on its way");
    assert!(allocations.query_at <= Instant::now() + LISTED);
    let token = allocations.desk.submissions().unwrap().remove(0);
    place.write("jobs", &format!("9_0|PENDING|Priority|{token}\n"));
    query(&mut allocations);
    assert!(!allocations.is_in_doubt());
    assert_eq!(allocations.living.keys().collect::<Vec<_>>(), ["9_0"]);
}

#[test]
fn a_submission_that_never_arrived_is_given_up() {
    let place = Place::new().with("sbatch", "echo 'Unable to contact slurm controller' >&2; exit 1");
    let place = place.with("squeue", "exit 0");
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 1).unwrap();
    let token = allocations.desk.submissions().unwrap().remove(0);
    let record = std::fs::File::options().append(true).open(allocations.desk.submission(&token, "json"));
    record.unwrap().set_modified(SystemTime::now() - LISTED).unwrap();
    allocations.query_at = Instant::now();
    allocations.query().unwrap();
    assert!(!allocations.is_in_doubt() && allocations.living.is_empty());
}

#[test]
fn slurm_is_asked_less_often_while_nothing_happens() {
    let list = "cat \"$here/jobs\"";
    let place = Place::new().with("sbatch", "echo 5").with("squeue", list).with("sacct", "exit 1");
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 1).unwrap();
    allocations.query().unwrap();
    assert!(allocations.query_at > Instant::now() + USUAL / 2, "not at once");
    let pause_after = |allocations: &mut Allocations, answer: &str| {
        place.write("jobs", answer);
        allocations.query_at = Instant::now();
        allocations.query().unwrap();
        (allocations.query_at - Instant::now()).as_secs_f64().round() as u64
    };
    let running = "5_0|RUNNING|None|t\n";
    assert_eq!(pause_after(&mut allocations, running), 64);
    let pauses: Vec<_> = (0..6).map(|_| pause_after(&mut allocations, running)).collect();
    assert_eq!(pauses, [96, 144, 216, 320, 320, 320]);
    assert_eq!(pause_after(&mut allocations, "5_0|PENDING|Priority|t\n"), 64, "something has changed");
    allocations.left("5_0", Left::Stopped);
    let soon = allocations.query_at - Instant::now();
    assert!(soon <= USUAL / QUERY_SOON, "a worker was stopped");
}

#[test]
fn a_controller_that_does_not_answer_is_asked_less_often_and_nothing_ends() {
    let place = Place::new().with("sbatch", "echo 5").with("squeue", "echo 'Connection refused' >&2; exit 1");
    let mut allocations = place.allocations(USUAL);
    allocations.submit(&request(), 1).unwrap();
    for pause in [96, 144] {
        allocations.query_at = Instant::now();
        assert!(allocations.query().unwrap().is_empty());
        assert_eq!((allocations.query_at - Instant::now()).as_secs_f64().round() as u64, pause);
    }
    assert_eq!(allocations.living.len(), 1);
    let told = allocations.news.iter().filter(|news| news.contains("does not answer")).count();
    assert_eq!(told, 1, "{:?}", allocations.news);
}
