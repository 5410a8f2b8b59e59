//! `[executor.slurm]` of a settings file, and the flags that override it.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

/// CPUs of an allocation, if it is not set.
pub(super) const DEFAULT_CPUS: usize = 4;

const DEFAULT_QUERY: u64 = 60;

/// What is asked of Slurm. None of it affects results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
#[command(next_help_heading = "Slurm (--executor slurm); each is also a key of [executor.slurm]")]
pub struct Settings {
    /// Partition [default: the cluster's]
    #[arg(long = "slurm-partition", value_name = "NAME")]
    pub partition: Option<String>,
    /// Account that is charged [default: the user's]
    #[arg(long = "slurm-account", value_name = "NAME")]
    pub account: Option<String>,
    /// Quality of service
    #[arg(long = "slurm-qos", value_name = "NAME")]
    pub qos: Option<String>,
    /// Time limit of an allocation: minutes, H:MM:SS or D-HH:MM:SS; longer trainings are continued in another one
    /// [default: an hour, or twice the longest stage]
    #[arg(long = "slurm-time", value_name = "TIME")]
    pub time: Option<String>,
    /// Generic resources of an allocation [default: gpu:1 with --device cuda]
    #[arg(long = "slurm-gres", value_name = "GRES")]
    pub gres: Option<String>,
    /// CPUs of an allocation [default: 4]
    #[arg(long = "slurm-cpus", value_name = "N")]
    pub cpus: Option<usize>,
    /// Memory of an allocation, as in 16G [default: by estimate]
    #[arg(long = "slurm-memory", value_name = "SIZE")]
    pub memory: Option<String>,
    /// Features that a node must have
    #[arg(long = "slurm-constraint", value_name = "LIST")]
    pub constraint: Option<String>,
    /// Another option of sbatch, as in --exclude=node7; may be repeated
    #[arg(long = "slurm-option", value_name = "OPTION", allow_hyphen_values = true)]
    pub options: Vec<String>,
    /// A shell command that runs first in each allocation, as in 'module load cuda'; may be repeated
    #[arg(long = "slurm-setup", value_name = "COMMAND")]
    pub setup: Vec<String>,
    /// Stages made at the same time in one allocation, which share its CPUs [default: one per GPU, or one]
    #[arg(long = "slurm-workers", value_name = "N")]
    pub workers: Option<usize>,
    /// Minutes of work, by estimate, for each allocation [default: 45]
    #[arg(long = "slurm-pack", value_name = "MINUTES")]
    pub pack: Option<u64>,
    /// Maximum number of allocations in the queue [default: 32]
    #[arg(long = "slurm-allocations", value_name = "N")]
    pub allocations: Option<usize>,
    /// Maximum number of allocations of a job array that run at once
    #[arg(long = "slurm-array-limit", value_name = "N")]
    pub array_limit: Option<usize>,
    /// Seconds before its end, or its preemption, at which an allocation saves trainings [default: 120, at most a
    /// quarter of the time limit]
    #[arg(long = "slurm-signal", value_name = "SECONDS")]
    pub signal: Option<u64>,
    /// Seconds between two questions to Slurm; results do not wait for them [default: 60, up to five times as long while
    /// nothing happens]
    #[arg(long = "slurm-query", value_name = "SECONDS")]
    pub query: Option<u64>,
    /// Seconds for which an allocation waits for stages that become ready [default: 60]
    #[arg(long = "slurm-idle", value_name = "SECONDS")]
    pub idle: Option<u64>,
}

impl Settings {
    /// These settings where they are set, others where not.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        Self {
            partition: self.partition.or(other.partition),
            account: self.account.or(other.account),
            qos: self.qos.or(other.qos),
            time: self.time.or(other.time),
            gres: self.gres.or(other.gres),
            cpus: self.cpus.or(other.cpus),
            memory: self.memory.or(other.memory),
            constraint: self.constraint.or(other.constraint),
            options: list(self.options, other.options),
            setup: list(self.setup, other.setup),
            workers: self.workers.or(other.workers),
            pack: self.pack.or(other.pack),
            allocations: self.allocations.or(other.allocations),
            array_limit: self.array_limit.or(other.array_limit),
            signal: self.signal.or(other.signal),
            query: self.query.or(other.query),
            idle: self.idle.or(other.idle),
        }
    }

    /// Time between two questions to Slurm.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(self.query.unwrap_or(DEFAULT_QUERY))
    }

    /// Threads of a stage on a CPU, for estimates.
    pub fn threads(&self) -> usize {
        (self.cpus.unwrap_or(DEFAULT_CPUS) / self.workers.unwrap_or(1).max(1)).max(1)
    }

    /// # Errors
    /// A value cannot be meant; the message names its key.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("cpus", self.cpus),
            ("workers", self.workers),
            ("allocations", self.allocations),
            ("array_limit", self.array_limit),
            ("pack", self.pack.map(|minutes| minutes as usize)),
            ("query", self.query.map(|seconds| seconds as usize)),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, number)| *number == Some(0)) {
            return Err(format!("{key} must be at least 1"));
        }
        if let Some(time) = self.time.as_ref().filter(|time| seconds(time).is_none_or(|time| time == 0)) {
            return Err(format!("time {time:?} is not a time; write minutes, H:MM:SS or D-HH:MM:SS"));
        }
        if let Some(memory) = self.memory.as_ref().filter(|memory| mebibytes(memory).is_none()) {
            return Err(format!("memory {memory:?} is not a size; write it as in 16G"));
        }
        self.check_words()
    }

    /// # Errors
    /// A value would end its line of the batch script.
    fn check_words(&self) -> Result<(), String> {
        let words = [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("gres", &self.gres),
            ("constraint", &self.constraint),
        ];
        let words = words.iter().filter_map(|(key, word)| Some((*key, word.as_ref()?)));
        let is_broken = |text: &str| text.is_empty() || text.contains(char::is_whitespace);
        if let Some((key, word)) = words.into_iter().find(|(_, word)| is_broken(word)) {
            return Err(format!("{key} {word:?} must be one word"));
        }
        match self.options.iter().find(|option| !option.starts_with('-') || option.contains('\n')) {
            Some(option) => Err(format!("options: {option:?} must be one line that starts with -")),
            None => Ok(()),
        }
    }
}

/// Seconds of a time as Slurm writes it: `M`, `M:SS`, `H:MM:SS`, `D-H`, `D-H:MM`, `D-H:MM:SS`.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, text),
    };
    let parts = rest.split(':').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>()?;
    let within = match (days, &parts[..]) {
        (Some(_), [hours]) => hours.checked_mul(3600),
        (Some(_), [hours, minutes]) => hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?),
        (None, [minutes]) => minutes.checked_mul(60),
        (None, [minutes, seconds]) => minutes.checked_mul(60)?.checked_add(*seconds),
        (_, [hours, minutes, seconds]) => {
            hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?.checked_add(*seconds)
        }
        _ => None,
    };
    days.unwrap_or_default().checked_mul(86_400)?.checked_add(within?)
}

/// Mebibytes of a size as Slurm writes it: a number with K, M (the default), G or T.
pub(super) fn mebibytes(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let value = number.parse::<u64>().ok().filter(|&value| value > 0)?;
    match &text[number.len()..] {
        "K" | "KB" => Some(value.div_ceil(1024)),
        "" | "M" | "MB" => Some(value),
        "G" | "GB" => value.checked_mul(1 << 10),
        "T" | "TB" => value.checked_mul(1 << 20),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        let times = ["90", "1:30", "2:00:00", "1-0", "1-02:30", "1-00:00:05"].map(seconds);
        assert_eq!(times, [5400, 90, 7200, 86_400, 95_400, 86_405].map(Some));
        for wrong in ["", "x", "1:", "-1", "1-", "1:2:3:4", "99999999999999999999", "18446744073709551615"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_as_slurm_reads_them() {
        assert_eq!(
            ["500", "500M", "16G", "2T", "1K"].map(mebibytes),
            [500, 500, 16_384, 2 << 20, 1].map(Some)
        );
        for wrong in ["", "G", "0", "1.5G", "16X", "-1", "18446744073709551615T", "1é"] {
            assert_eq!(mebibytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_named() {
        let check = |settings: Settings| settings.check().unwrap_err();
        let time = Settings { time: Some("soon".into()), ..Settings::default() };
        assert!(check(time).starts_with("time \"soon\""));
        assert_eq!(check(Settings { cpus: Some(0), ..Settings::default() }), "cpus must be at least 1");
        let partition = Some("gpu\n#SBATCH --wrap=x".into());
        assert!(check(Settings { partition, ..Settings::default() }).starts_with("partition"));
        assert!(
            check(Settings { options: vec!["exclude".into()], ..Settings::default() }).contains("options")
        );
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn the_nearer_setting_takes_precedence() {
        let near = Settings { partition: Some("gpu".into()), ..Settings::default() };
        let setup = vec!["module load cuda".to_owned()];
        let far = Settings {
            partition: Some("cpu".into()),
            cpus: Some(8),
            setup: setup.clone(),
            ..Settings::default()
        };
        let both = near.or(far);
        assert_eq!((both.partition.as_deref(), both.cpus, both.setup), (Some("gpu"), Some(8), setup));
    }
}
