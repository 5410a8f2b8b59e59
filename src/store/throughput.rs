//! `throughput.json`: measured speeds of stages, to estimate the time of a plan.
//!
//! ```text
//! {"<numerics>": {"<kind>": <operations per second>}}
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{Lock, Store, StoreError};
use identity::Numerics;

/// Weight of the latest measurement in the exponential moving average, which covers about the last five.
const LATEST: f64 = 0.3;

type Throughputs = BTreeMap<String, BTreeMap<String, f64>>;

impl Store {
    /// Multiply-adds per second of stages, by kind: per thread on a CPU, per device on a GPU. Kinds without a
    /// measurement are left out; so are all if the file cannot be read, since it is only used for estimates.
    pub fn throughputs(&self, numerics: Numerics) -> BTreeMap<String, f64> {
        let measured = self.read_throughputs().remove(numerics.as_str()).unwrap_or_default();
        measured.into_iter().filter(|(_, speed)| is_speed(*speed)).collect()
    }

    /// Add a measurement to the average in [`Store::throughputs`]. Measurements of stages without operations or without
    /// duration are ignored.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note_throughput(
        &self,
        numerics: Numerics,
        kind: &str,
        operations_per_second: f64,
    ) -> Result<(), StoreError> {
        self.note_throughputs(numerics, &[(kind, operations_per_second)])
    }

    /// The same with several measurements of (kind, speed), one after the other.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn note_throughputs(&self, numerics: Numerics, speeds: &[(&str, f64)]) -> Result<(), StoreError> {
        let mut speeds = speeds.iter().filter(|(_, speed)| is_speed(*speed)).peekable();
        if speeds.peek().is_none() {
            return Ok(());
        }
        let _writing = Lock::wait(&self.lock_file("throughput"))?;
        let mut throughputs = self.read_throughputs();
        let of_numerics = throughputs.entry(numerics.as_str().to_owned()).or_default();
        for &(kind, speed) in speeds {
            let mean = of_numerics.entry(kind.to_owned()).or_insert(speed);
            if !is_speed(*mean) {
                *mean = speed;
            }
            *mean += LATEST * (speed - *mean);
        }
        let json = serde_json::to_vec_pretty(&throughputs).expect("a map of numbers is JSON");
        self.replace(&self.throughput_file(), &json)
    }

    fn read_throughputs(&self) -> Throughputs {
        let json = fs::read(self.throughput_file()).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    fn throughput_file(&self) -> PathBuf {
        self.root().join("throughput.json")
    }
}

fn is_speed(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Precision;

    const KIND: &str = "finetune";

    fn throughput(store: &Store, numerics: Numerics, kind: &str) -> Option<f64> {
        store.throughputs(numerics).get(kind).copied()
    }

    fn with_store(test: impl FnOnce(&Store)) {
        let folder = tempfile::tempdir().unwrap();
        test(&Store::open(folder.path()).unwrap());
    }

    #[test]
    fn measurements_are_kept_apart_by_numerics_and_kind() {
        with_store(|store| {
            assert_eq!(throughput(store, Numerics::Cpu, KIND), None);
            store.note_throughput(Numerics::Cpu, KIND, 1e9).unwrap();
            store.note_throughput(Numerics::Cuda(Precision::Tf32), KIND, 1e12).unwrap();
            store.note_throughput(Numerics::Cpu, "merge", 2e9).unwrap();
            assert_eq!(throughput(store, Numerics::Cpu, KIND), Some(1e9));
            assert_eq!(throughput(store, Numerics::Cuda(Precision::Tf32), KIND), Some(1e12));
            assert_eq!(throughput(store, Numerics::Cuda(Precision::F32), KIND), None);
        });
    }

    #[test]
    fn later_measurements_move_the_mean_towards_them() {
        with_store(|store| {
            store.note_throughput(Numerics::Cpu, KIND, 100.0).unwrap();
            store.note_throughput(Numerics::Cpu, KIND, 200.0).unwrap();
            assert_eq!(throughput(store, Numerics::Cpu, KIND), Some(130.0));
            for _ in 0..50 {
                store.note_throughput(Numerics::Cpu, KIND, 200.0).unwrap();
            }
            assert!(throughput(store, Numerics::Cpu, KIND).is_some_and(|speed| (speed - 200.0).abs() < 1e-3));
        });
    }

    #[test]
    fn several_measurements_are_taken_in_one_after_the_other() {
        with_store(|store| {
            let speeds = [(KIND, 100.0), ("merge", f64::NAN), (KIND, 200.0)];
            store.note_throughputs(Numerics::Cpu, &speeds).unwrap();
            assert_eq!(throughput(store, Numerics::Cpu, KIND), Some(130.0));
            assert_eq!(throughput(store, Numerics::Cpu, "merge"), None);
        });
    }

    #[test]
    fn a_measurement_that_says_nothing_changes_nothing() {
        with_store(|store| {
            for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
                store.note_throughput(Numerics::Cpu, KIND, nothing).unwrap();
            }
            assert_eq!(throughput(store, Numerics::Cpu, KIND), None);
            assert!(!store.throughput_file().exists());
        });
    }

    #[test]
    fn an_unreadable_or_invalid_file_counts_as_missing() {
        for text in ["{\"cpu-f32\": ", "{\"cpu-f32\": {\"finetune\": -3}}", "[1, 2]"] {
            with_store(|store| {
                fs::write(store.throughput_file(), text).unwrap();
                assert_eq!(throughput(store, Numerics::Cpu, KIND), None, "{text}");
                store.note_throughput(Numerics::Cpu, KIND, 5.0).unwrap();
                assert_eq!(throughput(store, Numerics::Cpu, KIND), Some(5.0), "{text}");
            });
        }
    }

    #[test]
    fn concurrent_measurements_are_all_recorded() {
        with_store(|store| {
            std::thread::scope(|scope| {
                for kind in ["import", "pretrain", "finetune", "merge", "evaluate"] {
                    scope.spawn(move || store.note_throughput(Numerics::Cpu, kind, 7.0).unwrap());
                }
            });
            assert_eq!(store.throughputs(Numerics::Cpu).len(), 5);
        });
    }
}
