//! Values of the right type that are invalid.

use std::collections::HashSet;
use std::fmt::Display;

/// The largest number: in calculations with 32 bits, larger ones overflow.
pub const LARGEST: f64 = 1e30;

fn short(value: f64) -> String {
    if value.abs() < 1e9 { value.to_string() } else { format!("{value:e}") }
}

/// An invalid value.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of its key within the section: `train.optimizer.adamw.lr`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

/// The problems found so far, and the path of the section being validated.
#[derive(Debug, Default)]
pub struct Problems {
    prefix: String,
    list: Vec<Problem>,
}

impl Problems {
    /// The problems found.
    pub fn into_list(self) -> Vec<Problem> {
        self.list
    }

    /// Whether no problems were found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a problem with the value of `key`.
    pub fn add(&mut self, key: &str, message: impl Into<String>, help: Option<String>) {
        let path = format!("{}{key}", self.prefix);
        self.list.push(Problem { path, message: message.into(), help });
    }

    /// Validates the section under `key`.
    pub fn under(&mut self, key: &str, validate: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.push_str(key);
        self.prefix.push('.');
        validate(self);
        self.prefix.truncate(outer);
    }

    /// Reports that the value of `key` must be `must`, unless `right`.
    pub fn check(&mut self, key: &str, value: impl Display, right: bool, must: &str) {
        if !right {
            let named = |step: &&str| step.parse::<usize>().is_err();
            let name = key.rsplit('.').find(named).unwrap_or(key);
            self.add(key, format!("`{name}` must be {must}, not {value}"), None);
        }
    }

    /// Requires 1 to `most`.
    pub fn up_to(&mut self, key: &str, value: usize, most: usize) {
        self.check(key, value, (1..=most).contains(&value), &format!("1 to {most}"));
    }

    /// Requires `least` or more.
    pub fn at_least(&mut self, key: &str, value: usize, least: usize) {
        self.check(key, value, value >= least, &format!("{least} or more"));
    }

    /// Requires a finite number above 0, up to [`LARGEST`].
    pub fn positive(&mut self, key: &str, value: f64) {
        self.check(key, value, value > 0.0 && value.is_finite(), "a finite number above 0");
        self.not_too_large(key, value);
    }

    /// Requires a finite non-negative number, up to [`LARGEST`].
    pub fn not_negative(&mut self, key: &str, value: f64) {
        self.check(key, value, value >= 0.0 && value.is_finite(), "a finite non-negative number");
        self.not_too_large(key, value);
    }

    /// Requires a number above 0, up to `most`.
    pub fn positive_up_to(&mut self, key: &str, value: f64, most: f64) {
        let right = value > 0.0 && value <= most;
        self.check(key, short(value), right, &format!("above 0 and up to {most}"));
    }

    fn not_too_large(&mut self, key: &str, value: f64) {
        let right = value <= LARGEST || !value.is_finite();
        self.check(key, short(value), right, &format!("{LARGEST:e} or less"));
    }

    /// Requires a number in [0, 1].
    pub fn fraction(&mut self, key: &str, value: f64) {
        self.check(key, value, (0.0..=1.0).contains(&value), "from 0 to 1");
    }

    /// Requires a number in [0, 1).
    pub fn fraction_below_1(&mut self, key: &str, value: f64) {
        self.check(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1");
    }

    /// Requires a number in (0, 1].
    pub fn fraction_above_0(&mut self, key: &str, value: f64) {
        self.check(key, value, value > 0.0 && value <= 1.0, "above 0 and up to 1");
    }

    /// Requires a number in (0, 1).
    pub fn inner_fraction(&mut self, key: &str, value: f64) {
        self.check(key, value, value > 0.0 && value < 1.0, "between 0 and 1");
    }

    /// Reports duplicate names in the list under `key`; `what` says what they name.
    pub fn no_duplicates(&mut self, key: &str, what: &str, names: &[String]) {
        let mut before = HashSet::new();
        for (i, name) in names.iter().enumerate().filter(|(_, name)| !before.insert(*name)) {
            self.add(&format!("{key}.{i}"), format!("duplicate {what} `{name}`"), None);
        }
    }
}
