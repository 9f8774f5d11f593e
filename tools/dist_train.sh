#!/usr/bin/env bash
# tools/train.py in several processes on this machine (one a GPU; without a GPU, gloo):
#     tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# On several machines the same command on each, with NNODES, NODE_RANK and MASTER_ADDR (docs/scaling.md).
exec "$(dirname "$0")/dist_run.sh" train.py "$@"
