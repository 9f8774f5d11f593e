#!/usr/bin/env bash
# tools/search.py as a Slurm job of one or several nodes:
#     PARTITION=gpu NODES=8 GPUS_PER_NODE=8 tools/slurm_search.sh CONFIG [options of tools/search.py]
# One torchrun a node, which find each other by the job's id. A job that is told to end (SIGTERM: of a preemption, or a
# minute before its time is over) leaves a checkpoint, from which it goes on when it is run again: --resume is always
# given, and starts anew where there is nothing yet. Slurm queues it again after a preemption or the failure of a node,
# not when its time is over: submit it again, or several times at once with SBATCH_ARGS=--dependency=singleton, so that
# they run one after the other.
# From the environment: PARTITION, NODES (1), GPUS_PER_NODE (8), CPUS_PER_GPU (8), TIME (7-00:00:00), JOB_NAME, PYTHON, and
# SBATCH_ARGS for anything else. DRY_RUN=1 prints the job and submits nothing.
set -euo pipefail
case ${1:-} in
-h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit
    ;;
'' | -*)
    echo "usage: PARTITION=... NODES=... GPUS_PER_NODE=... tools/slurm_search.sh CONFIG [options]; --help says more" >&2
    exit 2
    ;;
esac
tools=$(cd "$(dirname "$0")" && pwd)
config=$1
shift
nodes=${NODES:-1} gpus=${GPUS_PER_NODE:-8} cpus=${CPUS_PER_GPU:-8} name=${JOB_NAME:-$(basename "$config" .py)}
name=${name//[^[:alnum:]._-]/_} # Slurm's own lines are read by no shell
options=
[ $# = 0 ] || options=$(printf ' %q' "$@")
job="#!/usr/bin/env bash
#SBATCH --job-name=$name
#SBATCH --nodes=$nodes
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:$gpus
#SBATCH --cpus-per-task=$((gpus * cpus))
#SBATCH --time=${TIME:-7-00:00:00}
#SBATCH --requeue
#SBATCH --signal=TERM@60
#SBATCH --open-mode=append
#SBATCH --output=$name-%j.log
export NNODES=$nodes MASTER_ADDR=\$(scontrol show hostnames \"\$SLURM_JOB_NODELIST\" | head -n 1)
# Its own, and none that the system gives to connections (from 32768 on)
export MASTER_PORT=\$((20000 + SLURM_JOB_ID % 10000))
export RDZV_ID=\$SLURM_JOB_ID PYTHON=$(printf %q "${PYTHON:-python}")
srun --kill-on-bad-exit=1 --cpus-per-task=$((gpus * cpus)) $(printf %q "$tools/dist_search.sh") $(printf %q "$config") $gpus --resume$options && exit
status=\$?
# One that ends within the GraceTime of a preemption Slurm takes for ended
scontrol show job \$SLURM_JOB_ID | grep -q ' PreemptTime=[0-9]' && scontrol requeue \$SLURM_JOB_ID
exit \$status"
if [ "${DRY_RUN:-0}" = 1 ]; then
    echo "$job"
    exit
fi
# shellcheck disable=SC2086
sbatch ${PARTITION:+--partition=$PARTITION} ${SBATCH_ARGS:-} <<< "$job"
