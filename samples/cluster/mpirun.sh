#!/usr/bin/env bash
# Quantizes a model on several nodes that ssh reaches, without a scheduler.
#
#   samples/cluster/mpirun.sh node1,node2 MODEL OUTPUT      # OUTPUT and MODEL under the same paths on all nodes
set -euo pipefail

# One process a node; no binding to one core, which all threads of the process would share. MPICH: mpirun -hosts "$1" -ppn 1
mpirun --host "$1" --map-by ppr:1:node --bind-to none opt-gptq quantize "$2" --output "$3" --device hip:all --rank-timeout 900
