#!/usr/bin/env bash
# A tool under torchrun: what dist_train.sh and dist_search.sh have in common.
#     tools/dist_run.sh TOOL.py CONFIG PROCESSES [options of the tool]
# From the environment: NNODES (1), NODE_RANK (0), MASTER_ADDR and MASTER_PORT (of the machine with NODE_RANK 0; on one
# machine any free port is taken), RDZV_ID (of the job: machines find each other by it and need no NODE_RANK), PYTHON.
set -euo pipefail
tools=$(cd "$(dirname "$0")" && pwd)
name=${1:-run}
script=dist_${name%.py}.sh
case ${2:-} in
-h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$tools/$script"
    exit
    ;;
esac
if [ $# -lt 3 ]; then
    echo "usage: tools/$script CONFIG PROCESSES [options]; --help says more" >&2
    exit 2
fi
tool=$1 config=$2 processes=$3
shift 3
if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
    echo "error: PROCESSES: found '$processes', expected the number of processes on this machine, such as 8" >&2
    exit 2
fi
nodes=${NNODES:-1}
if [ "$nodes" = 1 ]; then
    place=(--standalone)
elif [ -z "${MASTER_ADDR:-}" ]; then
    echo "error: MASTER_ADDR: found none with NNODES=$nodes, expected the address of the first machine" >&2
    exit 2
elif [ -n "${RDZV_ID:-}" ]; then
    place=(--rdzv-backend=c10d --rdzv-endpoint="$MASTER_ADDR:${MASTER_PORT:-29500}" --rdzv-id="$RDZV_ID")
else
    place=(--node-rank="${NODE_RANK:-0}" --master-addr="$MASTER_ADDR" --master-port="${MASTER_PORT:-29500}")
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH=$tools/..${PYTHONPATH:+:$PYTHONPATH}
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$nodes" --nproc-per-node="$processes" "${place[@]}" \
    "$tools/$tool" "$config" --launcher pytorch "$@"
