//! Tests with scripts that stand in for worker processes.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;
use crate::message::Order;
use crate::order::Orders;
use experiment::Experiment;
use identity::Numerics;
use plan::Plan;
use tempfile::TempDir;

/// A store with a desk, and an order.
struct Place {
    folder: TempDir,
    store: Store,
    order: Order,
}

const EXPERIMENT: &str = "
[experiment]
name = 'tiny'
[dataset.cells.phantom]
family = 'cells'
size = 12
train = 16
val = 16
test = 16
[stage.source.pretrain]
backbone.resnet18 = { stem = 'small', width = 4 }
dataset = 'cells'
seed = 1
";

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("experiment.toml");
        std::fs::write(&file, EXPERIMENT).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let experiment = Arc::new(Experiment::load(&file).unwrap());
        let plan = Plan::new(experiment, &store, Numerics::Cpu).unwrap();
        let nodes: Vec<_> = plan.stage_ids().collect();
        let order = Orders::new(&plan, &nodes).order(0, 1);
        Self { folder, store, order }
    }

    fn desk(&self) -> Desk {
        Desk::open(&self.folder.path().join("desk")).unwrap()
    }

    /// A worker process that starts an order, says something, and ends when it is told to stop.
    fn workers(&self, says: &str) -> Workers {
        let [path, beside] = ["worker", "new"].map(|name| self.folder.path().join(name));
        let script = format!(
            "#!/bin/bash\nread -r order\necho '\"started\"'\necho '{says}'\nread -r stop\n\
             echo '{{\"ended\":\"interrupted\"}}'\n"
        );
        std::fs::write(&beside, script).unwrap();
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        Workers { program: path, arguments: vec![], devices: vec![WorkerDevice::Cpu] }
    }

    /// Publish the order, and stop an allocation as soon as its worker has said something.
    fn stop_an_allocation(&self, number: usize, workers: &Workers) {
        let desk = self.desk();
        let of = self.order.fingerprint;
        let worker = format!("{number}_0.0");
        let node = super::super::desk::Node { fingerprint: of, inputs: vec![], memory: 0 };
        desk.publish(&Graph { nodes: vec![node] }).unwrap();
        let (host, memory, threads, idle) = (String::new(), None, 1, Duration::ZERO);
        let shift = Shift { worker: worker.clone(), host, memory, threads, idle };
        let stop = AtomicBool::new(false);
        let mut foreman = Foreman::new(desk.root(), &self.store, workers, shift, &stop).unwrap();
        thread::scope(|scope| {
            let left = scope.spawn(move || foreman.work().unwrap());
            let events = desk.events(&worker);
            while !std::fs::read_to_string(&events).unwrap_or_default().contains("\"progress\"") {
                thread::sleep(Duration::from_millis(5));
            }
            stop.store(true, Ordering::Relaxed);
            assert_eq!(left.join().unwrap(), Left::Stopped);
        });
    }

    /// What the last message of an allocation about the order was.
    fn last(&self, number: usize) -> Message {
        let events = std::fs::read_to_string(self.desk().events(&format!("{number}_0.0"))).unwrap();
        let said = |line: &str| match serde_json::from_str(line).unwrap() {
            Note::Said { message, .. } => Some(message),
            _ => None,
        };
        events.lines().rev().find_map(said).unwrap()
    }
}

const COUNT: &str = r#"{"progress":{"progress":"count","done":1,"of":2,"what":"images"}}"#;

const STEP: &str = r#"{"progress":{"progress":"step","epoch":0,"epochs":2,"images":1,"of":9,"loss":1.0,"images_per_second":1.0}}"#;

#[test]
fn a_stage_that_starts_over_each_time_it_is_stopped_fails() {
    let place = Place::new();
    place.desk().put(&place.order).unwrap();
    let workers = place.workers(COUNT);
    for number in 1..=2 {
        place.stop_an_allocation(number, &workers);
        assert!(matches!(place.last(number), Message::Returned(_)), "{:?}", place.last(number));
    }
    place.stop_an_allocation(3, &workers);
    let last = place.last(3);
    assert!(
        matches!(&last, Message::Ended(Ending::Failed(why)) if why.contains("3 times in a row") && why.contains("`time`")),
        "{last:?}"
    );
    assert!(
        place.desk().open_orders().unwrap().is_empty() && place.desk().taken_orders().unwrap().is_empty()
    );
}

#[test]
fn a_training_that_gets_further_is_continued_as_often_as_it_is_stopped() {
    let place = Place::new();
    place.desk().put(&place.order).unwrap();
    let workers = place.workers(STEP);
    for number in 1..=4 {
        place.stop_an_allocation(number, &workers);
        assert!(matches!(place.last(number), Message::Returned(_)), "{:?}", place.last(number));
    }
    assert_eq!(place.desk().open_orders().unwrap().len(), 1);
}

#[test]
fn stages_share_the_gpus_that_slurm_gave() {
    let names = |visible: &str, slots| -> Vec<String> {
        let name = |device| match device {
            WorkerDevice::Cuda(name) => name,
            WorkerDevice::Cpu => "cpu".into(),
        };
        gpus(visible, slots).into_iter().map(name).collect()
    };
    assert_eq!(names("2, 3", 1), ["2", "3"], "each has a stage");
    assert_eq!(names("2,3", 5), ["2", "3", "2", "3", "2"]);
    assert_eq!(names("GPU-1f,", 2), ["GPU-1f", "GPU-1f"]);
    assert_eq!(names("", 1), ["0"], "a cluster that binds no GPUs");
    assert_eq!(devices(false, 0), [WorkerDevice::Cpu]);
    assert_eq!(devices(false, 2), [WorkerDevice::Cpu, WorkerDevice::Cpu]);
}
