//! `medmerge worker` alone: orders in, messages out, one process for all.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use medmerge::identity::{Fingerprint, Numerics};
use medmerge::plan::Plan;
use medmerge::run::message::{Ending, Message, Order, Request};
use medmerge::run::order::Orders;
use medmerge::stage::StageSpec;
use medmerge::store::Store;

use crate::builder::{EXPERIMENT, Workplace};

/// A worker at a workplace's store.
struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(workplace: &Workplace) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
        let command = command.args(["worker", "--store", "store"]).current_dir(workplace.path(""));
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a worker");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    fn ask(&mut self, request: &Request) {
        let line = serde_json::to_string(request).expect("JSON");
        writeln!(self.child.stdin.as_mut().expect("it is piped"), "{line}").expect("a worker");
    }

    /// The next message.
    fn hear(&mut self) -> Message {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        serde_json::from_str(&line).expect("a message")
    }

    /// Hands it an order and waits for its end.
    fn make(&mut self, order: Order) -> Ending {
        self.ask(&Request::Make(Box::new(order)));
        assert_eq!(self.hear(), Message::Started);
        loop {
            if let Message::Ended(ending) = self.hear() {
                return ending;
            }
        }
    }

    /// Its exit code, once it has no more to do.
    fn leave(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.child.wait().expect("a worker").code()
    }
}

fn store(workplace: &Workplace) -> Store {
    Store::open(&workplace.path("store")).expect("a store")
}

/// The orders of all stages, inputs before users.
fn orders(workplace: &Workplace) -> Vec<Order> {
    let experiment = workplace.load().expect("a right experiment");
    let plan = Plan::new(Arc::new(experiment), &store(workplace), Numerics::Cpu).expect("a plan");
    let stages: Vec<_> = plan.stage_ids().collect();
    let mut orders = Orders::new(&plan, &stages);
    (0..stages.len()).map(|job| orders.order(job, 1)).collect()
}

/// [`EXPERIMENT`] without seeds.
fn lab() -> Workplace {
    Workplace::new(&EXPERIMENT.replace("[0, 1]", "[0]"))
}

#[test]
fn one_process_makes_all_stages_one_after_the_other() {
    let workplace = lab();
    let mut worker = Process::start(&workplace);
    let orders = orders(&workplace);
    for (threads, order) in (1..=2).cycle().zip(&orders) {
        let ending = worker.make(Order { threads, ..order.clone() });
        assert!(matches!(ending, Ending::Executed { .. }), "{ending:?}");
        let manifest = store(&workplace).manifest(&order.fingerprint).expect("a store").expect("an entry");
        assert_eq!(manifest.header.stage_ids, order.stages);
    }
    assert_eq!(worker.make(orders[0].clone()), Ending::Found);
    assert_eq!(worker.leave(), Some(0));
}

#[test]
fn the_log_of_each_stage_has_its_own_lines() {
    let workplace = lab();
    let mut worker = Process::start(&workplace);
    for order in orders(&workplace).into_iter().take(2) {
        let log = log_of(&workplace.path("store"), &order.fingerprint);
        assert!(matches!(worker.make(order), Ending::Executed { .. }));
        let text = std::fs::read_to_string(&log).expect("a log");
        assert_eq!(text.matches("epoch 1").count(), 1, "{text}");
    }
}

fn log_of(store: &Path, fingerprint: &Fingerprint) -> std::path::PathBuf {
    let name = fingerprint.to_string();
    store.join("store").join(&name[..2]).join(name).join("log.txt")
}

#[test]
fn an_order_is_read_as_it_was_written() {
    for order in orders(&lab()) {
        let json = serde_json::to_string(&order).expect("JSON");
        assert_eq!(serde_json::from_str::<Order>(&json).expect("an order"), order);
        assert_eq!(Fingerprint::of(&order.fields), order.fingerprint);
    }
}

#[test]
fn an_order_that_is_not_what_its_fingerprint_says_is_refused() {
    let workplace = lab();
    let mut worker = Process::start(&workplace);
    let mut order = orders(&workplace).remove(0);
    order.fields[0].value.push('0');
    let Ending::Failed(message) = worker.make(order) else { panic!("a failure") };
    assert!(message.contains("does not match its fingerprint"), "{message}");
    let order = Order { numerics: Numerics::ALL[1], ..orders(&workplace).remove(0) };
    let Ending::Failed(message) = worker.make(order) else { panic!("a failure") };
    assert_eq!(message, "its order requires cuda-f32, but its worker computes with cpu-f32");
}

const CHANGED: &str = "its data or files changed during the run; run again";

#[test]
fn a_data_set_that_changed_after_the_plan_is_refused() {
    let workplace = lab();
    let mut worker = Process::start(&workplace);
    let mut order = orders(&workplace).remove(0);
    // The content has another digest than the plan saw.
    let StageSpec::Pretrain(_) = &order.spec else { panic!("a pretraining") };
    order.datasets[0].digest = "00".repeat(32);
    assert_eq!(worker.make(order), Ending::Failed(CHANGED.into()));
}

const IMPORT: &str = r#"
[experiment]
name = "import"

[stage.imported.import]
path = "model.safetensors"
backbone.resnet18 = { stem = "small", width = 4 }
"#;

#[test]
fn a_file_that_changed_after_the_plan_is_refused() {
    let workplace = Workplace::new(IMPORT).with("model.safetensors", "one");
    let mut worker = Process::start(&workplace);
    let order = orders(&workplace).remove(0);
    let workplace = workplace.with("model.safetensors", "two");
    assert_eq!(worker.make(order), Ending::Failed(CHANGED.into()));
    drop(workplace);
}

#[test]
fn a_worker_that_is_asked_to_stop_makes_the_next_order() {
    let workplace = Workplace::new(&EXPERIMENT.replace("epochs = 1", "epochs = 100000"));
    let mut worker = Process::start(&workplace);
    for order in orders(&workplace).into_iter().take(2) {
        worker.ask(&Request::Make(Box::new(order)));
        assert_eq!(worker.hear(), Message::Started);
        while !matches!(worker.hear(), Message::Progress(_)) {}
        worker.ask(&Request::Stop);
        let ending = std::iter::repeat_with(|| worker.hear()).find_map(|message| match message {
            Message::Ended(ending) => Some(ending),
            _ => None,
        });
        assert_eq!(ending, Some(Ending::Interrupted));
    }
    assert_eq!(worker.leave(), Some(0));
}

#[test]
fn what_is_no_order_is_a_mistake_of_the_command_line() {
    let workplace = lab();
    let assert = workplace.medmerge(&["worker"]).write_stdin("make tea\n").assert().code(2);
    assert.stderr(predicates::str::contains("`medmerge run` starts workers"));
}
