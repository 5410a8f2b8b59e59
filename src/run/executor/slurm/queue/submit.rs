//! Tests and submits requests, and records what was submitted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::super::client::Trouble;
use super::super::desk::failed;
use super::super::script::{Place, Request, script};
use super::{Allocation, Allocations, QUERY_SOON, SUBMIT};
use crate::RunError;
use crate::utc::{utc, utc_milliseconds};

/// A record of what was submitted, with which environment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Submission {
    /// The number of the job array, once it is known.
    array: Option<String>,
    count: usize,
    pub(super) memory: u64,
    /// UTC.
    at: String,
    /// What the batch script was submitted with.
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

impl Allocations {
    /// Look whether a request would be accepted, before anything is submitted.
    pub(in super::super) fn test(&mut self, request: &Request) -> Result<(), RunError> {
        let path = self.desk.submission("test", "sh");
        self.write_script(&path, request, "test")?;
        match self.client.test(&path) {
            Ok(()) => Ok(()),
            Err(trouble @ (Trouble::Unreachable(_) | Trouble::Busy(_))) => {
                self.did_not_answer(&trouble);
                Ok(())
            }
            Err(Trouble::Refused(text) | Trouble::Missing(text)) => Err(refused(request, &text)),
        }
    }

    fn write_script(&self, path: &Path, request: &Request, token: &str) -> Result<(), RunError> {
        let Self { name, desk, store, workers, .. } = self;
        let place = Place { name, token, desk: desk.root(), store, workers };
        std::fs::write(path, script(request, &place)).map_err(failed(path))
    }

    /// Submit this number of allocations, if it is time to.
    ///
    /// # Errors
    /// Slurm refuses.
    pub(in super::super) fn submit(&mut self, request: &Request, count: usize) -> Result<(), RunError> {
        if self.in_doubt || Instant::now() < self.submit_at {
            return Ok(());
        }
        let mut size = match count {
            1 => 1,
            _ => *self.max_array_size.get_or_insert_with(|| self.client.max_array_size()),
        };
        let mut left = count;
        while left > 0 {
            let now = left.min(size.max(1));
            if self.submit_array(request, now)? {
                left -= now;
            } else if self.busy && now > 1 {
                // A limit may have room for fewer.
                size = now / 2;
            } else {
                self.submit_at = Instant::now() + self.submit_interval;
                self.submit_interval = (self.submit_interval * 2).min(SUBMIT[1]);
                return Ok(());
            }
        }
        self.submit_interval = SUBMIT[0];
        Ok(())
    }

    /// Submit an array; whether that worked.
    fn submit_array(&mut self, request: &Request, count: usize) -> Result<bool, RunError> {
        let token = self.token();
        let (path, record) = (self.desk.submission(&token, "sh"), self.desk.submission(&token, "json"));
        self.write_script(&path, request, &token)?;
        let mut submission = Submission::new(count, request.memory, &path);
        self.desk.write(&record, &submission)?;
        match self.client.submit(&path, count, request.array_limit()) {
            Ok(array) => {
                for index in 0..count {
                    self.living.insert(format!("{array}_{index}"), Allocation::new(request.memory));
                }
                self.busy = false;
                self.answered();
                self.query_interval = self.usual_interval;
                self.query_at = Instant::now() + self.usual_interval;
                let word = if count == 1 { "allocation" } else { "allocations" };
                self.news.push(format!("submitted {count} {word} as job {array}: {request}"));
                submission.array = Some(array);
                self.desk.write(&record, &submission)?;
                Ok(true)
            }
            Err(Trouble::Unreachable(text)) => {
                // It may have been submitted all the same.
                (self.in_doubt, self.busy) = (true, false);
                self.query_at = Instant::now() + self.usual_interval / QUERY_SOON;
                self.did_not_answer(&Trouble::Unreachable(text));
                Ok(false)
            }
            Err(Trouble::Busy(text)) => {
                let _ = std::fs::remove_file(&record);
                if !std::mem::replace(&mut self.busy, true) {
                    self.news
                        .push(format!("Slurm takes no more jobs now ({text}); they are submitted later"));
                }
                Ok(false)
            }
            Err(Trouble::Refused(text) | Trouble::Missing(text)) => {
                let _ = std::fs::remove_file(&record);
                Err(refused(request, &text))
            }
        }
    }

    /// A word that no other submission has.
    fn token(&mut self) -> String {
        self.submissions += 1;
        let time = utc_milliseconds(SystemTime::now()).replace([':', '.'], "-");
        format!("{time}-{}-{}", std::process::id(), self.submissions)
    }
}

impl Submission {
    /// Whether Slurm has accepted it and the run has noted that.
    pub(super) fn is_answered(&self) -> bool {
        self.array.is_some()
    }

    fn new(count: usize, memory: u64, script: &Path) -> Self {
        const OF_INTEREST: [&str; 7] = ["SLURM", "SBATCH", "MEDMERGE", "CUDA", "RAYON", "PATH", "LD_"];
        let is_of_interest = |name: &str| OF_INTEREST.iter().any(|start| name.starts_with(start));
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self {
            array: None,
            count,
            memory,
            at: utc(SystemTime::now()),
            command: vec!["sbatch".into(), script.to_string_lossy().into_owned()],
            environment: variables.filter(|(name, _)| is_of_interest(name)).collect(),
        }
    }
}

/// Slurm refuses what is asked for.
fn refused(request: &Request, text: &str) -> RunError {
    let words = [
        ("ccount", "; `sacctmgr show assoc user=$USER` lists your accounts"),
        ("artition", "; `sinfo -s` lists partitions"),
        ("gres", "; `sinfo -o '%P %G'` lists generic resources"),
        ("generic resource", "; `sinfo -o '%P %G'` lists generic resources"),
        ("qos", "; `sacctmgr show assoc user=$USER` lists your QOS"),
        ("feature", "; `sinfo -o '%P %f'` lists features"),
        (
            "node configuration",
            "; no node has that many CPUs or that much memory; set `cpus` and `memory`: `sinfo -o '%P %c %m %G'`",
        ),
    ];
    let advice = words.iter().find(|(word, _)| text.contains(word)).map_or("", |(_, advice)| advice);
    RunError::Refused(format!("Slurm refuses an allocation with {request}: {text}{advice}"))
}
