#!/usr/bin/env bash
# Starts a Slurm of one machine for tests: bash tests/slurm/setup.sh [start | stop | stop-controller | start-controller]
#
# Needs root on Debian or Ubuntu. Packages slurm-wlm and munge are installed if they are missing. A machine that belongs
# to another cluster is left alone. Exit code 3: this machine cannot have it; the reason is on stderr.
set -euo pipefail

conf=/etc/slurm/slurm.conf
mark="# made by tests/slurm/setup.sh"

unavailable() {
    echo "not tested: Slurm: $*" >&2
    exit 3
}

install_packages() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
    command -v apt-get >/dev/null || unavailable "it is not installed, and there is no apt-get"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null 2>&1 || true
    apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null 2>&1 ||
        unavailable "apt-get install slurm-wlm munge failed"
}

configure() {
    local host cpus memory
    host=$(hostname -s)
    cpus=$(nproc)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.8) }' /proc/meminfo)
    mkdir -p "${conf%/*}" /var/lib/slurm/ctld /var/spool/slurmd /var/log/slurm
    cat >"$conf" <<CONF
$mark
ClusterName=ci
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
StateSaveLocation=/var/lib/slurm/ctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobCompType=jobcomp/filetxt
JobCompLoc=/var/log/slurm/jobcomp.txt
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
KillWait=5
MinJobAge=300
MaxArraySize=101
SchedulerParameters=sched_interval=2,bf_interval=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory
PartitionName=low Nodes=$host Default=YES MaxTime=60 PriorityTier=1 GraceTime=10 OverSubscribe=FORCE:1
PartitionName=high Nodes=$host MaxTime=60 PriorityTier=10 PreemptMode=OFF
CONF
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

up() {
    [ "$(sinfo -h -o %T 2>/dev/null | sort -u | grep -Ec '^(idle|mixed|allocated)')" -ge 1 ]
}

start_munge() {
    munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return
    [ -s /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 2>/dev/null; }
    chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
    install -d -o munge -g munge -m 755 /run/munge
    runuser -u munge -- munged || unavailable "munged does not start"
}

# is_ours: this machine belongs to no cluster but this one
is_ours() {
    [ ! -e "$conf" ] || grep -qxF "$mark" "$conf"
}

start() {
    [ "$(id -u)" = 0 ] || unavailable "it needs root"
    install_packages
    up && return
    configure
    start_munge
    slurmctld || unavailable "slurmctld does not start"
    slurmd || unavailable "slurmd does not start"
    wait_for 30 up || unavailable "the node does not come up: $(tail -n 3 /var/log/slurm/slurmctld.log)"
}

controller_up() {
    scontrol ping | grep -q 'is UP'
}

start_controller() {
    controller_up 2>/dev/null && return
    slurmctld || unavailable "slurmctld does not start"
    wait_for 30 controller_up || unavailable "slurmctld does not answer"
}

# stop_one NAME: by the process id that it wrote
stop_one() {
    local file=/run/$1.pid pid
    [ -s "$file" ] || return 0
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || return 0
    wait_for 20 eval "! kill -0 $pid" || kill -9 "$pid"
}

is_ours || unavailable "this machine belongs to a cluster: $conf"
case "${1:-start}" in
    start) start ;;
    stop) stop_one slurmctld; stop_one slurmd ;;
    stop-controller) stop_one slurmctld ;;
    start-controller) start_controller ;;
    *) echo "usage: setup.sh [start | stop | stop-controller | start-controller]" >&2; exit 2 ;;
esac
