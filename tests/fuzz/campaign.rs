//! A campaign: inputs for one target, one after the other.
//!
//! There is no coverage to follow. Instead, the text of errors guides: an input that gives a message of a new form
//! joins the inputs from which others are made.

use std::any::Any;
use std::collections::HashSet;
use std::fs;
use std::io::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::mutate::Mutator;
use super::target::Target;
use super::{corpus, limits};

/// File in a campaign's folder with the input at work: what remains of a crash.
pub(crate) const CURRENT: &str = "current";

/// Longest input in bytes.
const LONGEST: usize = 1 << 16;

/// The maximum number of inputs from which others are made.
const POOL: usize = 2000;

/// When a campaign ends.
#[derive(Clone, Copy)]
pub(crate) enum Length {
    /// After so many inputs.
    Inputs(u64),
    /// After so much time.
    Time(Duration),
}

/// The inputs of one target.
pub(crate) struct Campaign {
    target: &'static Target,
    folder: PathBuf,
    pool: Vec<Vec<u8>>,
    mutator: Mutator,
    random: ChaCha8Rng,
    /// Forms of messages that were seen.
    seen: HashSet<String>,
    /// Panics that were seen.
    panics: HashSet<String>,
    inputs: u64,
}

impl Campaign {
    /// Start from the target's corpus; files are written into `folder`.
    pub(crate) fn new(target: &'static Target, folder: PathBuf, seed: u64) -> Result<Self> {
        Ok(Self {
            target,
            folder,
            pool: corpus::of(target.name)?,
            mutator: Mutator::new((target.dictionary)(), LONGEST),
            random: ChaCha8Rng::seed_from_u64(seed),
            seen: HashSet::new(),
            panics: HashSet::new(),
            inputs: 0,
        })
    }

    /// Whether no input failed.
    pub(crate) fn run(&mut self, length: Length) -> Result<bool> {
        let start = Instant::now();
        for input in self.pool.clone() {
            self.one(&input)?;
        }
        while !self.is_over(length, start) {
            let (first, second) = (self.any(), self.any());
            let input = self.mutator.mutate(&mut self.random, &self.pool[first], &self.pool[second]);
            if self.one(&input)? && self.pool.len() < POOL {
                self.pool.push(input);
            }
        }
        let (name, inputs, forms, failures) =
            (self.target.name, self.inputs, self.seen.len(), self.panics.len());
        let peak = limits::peak() >> 20;
        println!(
            "fuzz {name}: {inputs} inputs, {forms} kinds of outcomes, peak {peak} MiB, {failures} failures"
        );
        Ok(self.panics.is_empty())
    }

    /// Run one input and say what it gives.
    pub(crate) fn repeat(&mut self, input: &[u8]) -> Result<bool> {
        self.one(input)?;
        self.seen.iter().for_each(|form| println!("{form}"));
        Ok(self.panics.is_empty())
    }

    fn is_over(&self, length: Length, start: Instant) -> bool {
        match length {
            Length::Inputs(inputs) => self.inputs >= inputs,
            Length::Time(time) => start.elapsed() >= time,
        }
    }

    fn any(&mut self) -> usize {
        self.random.random_range(0..self.pool.len())
    }

    /// Whether the input gives an outcome of a new form.
    fn one(&mut self, input: &[u8]) -> Result<bool> {
        self.inputs += 1;
        fs::write(self.folder.join(CURRENT), input)?;
        limits::start_clocks();
        match catch_unwind(AssertUnwindSafe(|| (self.target.read)(input, &self.folder))) {
            Ok(outcome) => {
                let outcome = outcome.replace(&*self.folder.to_string_lossy(), "");
                Ok(self.seen.insert(form(&outcome)))
            }
            Err(panic) => {
                let text = text(&*panic);
                if self.panics.insert(form(&text)) {
                    report(self.target.name, &format!("panic: {text}"), input)?;
                }
                Ok(false)
            }
        }
    }
}

/// Keep a failing input, and say where.
pub(crate) fn report(target: &str, why: &str, input: &[u8]) -> Result<()> {
    let digest = blake3::hash(input).to_hex();
    let path = std::env::temp_dir().join(format!("medmerge-fuzz-{target}-{}", &digest[..12]));
    fs::write(&path, input)?;
    println!("fuzz {target}: {why}");
    println!("  again: cargo test --release --test fuzz -- {target} --input {}", path.display());
    Ok(())
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A message without names and numbers, which an input can vary without end.
fn form(message: &str) -> String {
    let mut form = String::new();
    let mut quoted = None;
    for c in message.chars().take(2000) {
        match (quoted, c) {
            (None, '`' | '"' | '\'') => quoted = Some(c),
            (Some(quote), _) if c == quote => quoted = None,
            (None, _) if c.is_ascii_alphabetic() => form.push(c),
            _ => {}
        }
    }
    form.truncate(300);
    form
}
