#!/usr/bin/env bash
# tools/search.py in several processes on this machine (one a GPU; without a GPU, gloo):
#     tools/dist_search.sh CONFIG PROCESSES [options of tools/search.py]
# On several machines the same command on each, with NNODES, NODE_RANK and MASTER_ADDR (docs/scaling.md).
exec "$(dirname "$0")/dist_run.sh" search.py "$@"
