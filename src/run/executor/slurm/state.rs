//! States of jobs, and what they mean.

/// What a state means for the work in an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits in the queue, and will run.
    Waiting,
    /// It runs, or is about to end.
    Running,
    /// It has ended.
    Ended,
}

/// How a job stands: its state in Slurm's words, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// As in `RUNNING`.
    pub(super) name: String,
    /// As in `Priority`; empty if there is none.
    pub(super) reason: String,
}

impl State {
    /// What it means; a state that is unknown here is taken for running: the job is neither given up nor repeated.
    pub(super) fn phase(&self) -> Phase {
        match self.name.as_str() {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT"
            | "RESV_DEL_HOLD" | "POWER_UP_NODE" => Phase::Waiting,
            "BOOT_FAIL" | "CANCELLED" | "COMPLETED" | "DEADLINE" | "FAILED" | "LAUNCH_FAILED"
            | "NODE_FAIL" | "OUT_OF_MEMORY" | "PREEMPTED" | "RECONFIG_FAIL" | "REVOKED" | "TIMEOUT" => {
                Phase::Ended
            }
            // COMPLETING, EXPEDITING, RESIZING, RUNNING, SIGNALING, STAGE_OUT, STOPPED, SUSPENDED
            _ => Phase::Running,
        }
    }

    /// Whether a job comes into this state without anything of interest to the user.
    pub(super) fn is_usual(&self) -> bool {
        let is_halted = matches!(self.name.as_str(), "STOPPED" | "SUSPENDED");
        self.name == "CONFIGURING" || (self.phase() == Phase::Running && !is_halted)
    }

    /// Whether memory ran out.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.name == "OUT_OF_MEMORY"
    }

    /// What the state says of the job, and what is or can be done.
    pub(super) fn advice(&self) -> &'static str {
        match self.name.as_str() {
            "BOOT_FAIL" | "POWER_UP_NODE" => "its node did not start; its stages run again elsewhere",
            "CANCELLED" => "someone cancelled it; its stages run again, unless you stop this run, too",
            "COMPLETED" => "it ended by itself",
            "CONFIGURING" => "its nodes are being started",
            "DEADLINE" => "its deadline passed; leave --deadline out of `options`",
            "FAILED" | "LAUNCH_FAILED" => "its script failed; see its log, and `setup` in the settings",
            "NODE_FAIL" => "its node failed; its stages run again",
            "OUT_OF_MEMORY" => "its memory ran out; its stages run again with more",
            "PREEMPTED" => "a job of higher priority took its place; its stages go on in another allocation",
            "RECONFIG_FAIL" | "RESV_DEL_HOLD" => {
                "the administrators changed its nodes or reservation; ask them"
            }
            "REQUEUE_HOLD" | "SPECIAL_EXIT" => "it is held: `scontrol release` lets it run",
            "REQUEUED" | "REQUEUE_FED" => "it waits to run again",
            "REVOKED" => "another cluster of the federation runs it",
            "STOPPED" | "SUSPENDED" => {
                "the administrators or a job of higher priority suspended it; it goes on later"
            }
            "TIMEOUT" => "its time limit passed before trainings were saved; set a longer `signal` or `time`",
            "PENDING" => self.waiting_advice(),
            _ => "it runs",
        }
    }

    /// Why a job waits.
    fn waiting_advice(&self) -> &'static str {
        let reason = self.reason.as_str();
        match reason {
            "BeginTime" => "Slurm makes it wait for two minutes after it was stopped",
            "Priority" | "Resources" | "None" | "" => "it waits for its turn",
            "JobArrayTaskLimit" => "`array_limit` in the settings lets no more run at once",
            "DependencyNeverSatisfied" | "Dependency" => {
                "it depends on another job; leave --dependency out of `options`"
            }
            "PartitionDown" | "PartitionInactive" | "NodeDown" | "ReqNodeNotAvail" => {
                "its partition or nodes are down; wait, or choose another `partition`"
            }
            "PartitionTimeLimit" => "`time` is longer than its partition allows; set a shorter one",
            "PartitionNodeLimit" | "BadConstraints" => "no node can have what it asks for; ask for less",
            "InvalidAccount" | "InvalidQOS" => "its account or QOS is not valid; see `sacctmgr show assoc`",
            "JobHeldUser" | "JobHeldAdmin" => "it is held: `scontrol release` lets it run",
            _ if reason.starts_with("QOS") || reason.starts_with("Assoc") || reason.contains("Limit") => {
                "a limit of your account or QOS is reached; it waits until other jobs end"
            }
            _ => "it waits",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state of squeue's manual, 22.05 to 24.11.
    const STATES: [&str; 26] = [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "CONFIGURING",
        "COMPLETING",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PENDING",
        "PREEMPTED",
        "RUNNING",
        "RESV_DEL_HOLD",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "REQUEUED",
        "RESIZING",
        "REVOKED",
        "SIGNALING",
        "SPECIAL_EXIT",
        "STAGE_OUT",
        "STOPPED",
        "SUSPENDED",
        "TIMEOUT",
        "LAUNCH_FAILED",
        "POWER_UP_NODE",
    ];

    fn state(name: &str, reason: &str) -> State {
        State { name: name.into(), reason: reason.into() }
    }

    #[test]
    fn every_state_has_advice_and_unknown_ones_are_not_given_up() {
        let ended = STATES.iter().filter(|name| state(name, "").phase() == Phase::Ended).count();
        assert_eq!(ended, 11);
        for name in STATES {
            assert!(!state(name, "").advice().is_empty());
            let says_running = state(name, "").advice() == "it runs";
            assert!(!says_running || state(name, "").phase() == Phase::Running, "{name}");
        }
        assert_eq!(state("HIBERNATING", "").phase(), Phase::Running);
    }

    #[test]
    fn limits_are_told_from_bad_requests() {
        assert!(state("PENDING", "QOSMaxJobsPerUserLimit").advice().contains("limit"));
        assert!(state("PENDING", "AssocGrpCpuLimit").advice().contains("limit"));
        assert!(state("PENDING", "BadConstraints").advice().contains("ask for less"));
        assert!(state("PENDING", "Priority").advice().contains("turn"));
    }
}
