#!/usr/bin/env bash
# mpirun -n 3 with Open MPI and -n 2 with MPICH write the files of one process (Debian: openmpi-bin, mpich, which install beside
# each other as mpirun.openmpi and mpirun.mpich). What is not installed is skipped with a message.
#
#   config/check-mpi.sh            # the same SHA-256
#   config/check-mpi.sh failures   # and what a rank that is killed or stopped leaves: a message that names it, work to resume from
#
#   OPT_GPTQ   the program, if another than ./opt-gptq
#   MPI        openmpi or mpich, if not both
#   RANKS      numbers of ranks to try, such as "1 2 3"
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
# Short jobs are over before the second compiler pays off.
export OPT_GPTQ_JAVA_OPTS="${OPT_GPTQ_JAVA_OPTS:--XX:TieredStopAtLevel=1}"
# Else Open MPI refuses root, as in CI's container; elsewhere they change nothing.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

job=("${OPT_GPTQ:-./opt-gptq}" quantize samples/wiki-tiny-llama --device cpu --threads 1 --calibrator gptq --calibration README.md --eval none)
small=(--samples 4 --sequence-length 32)

say() { printf 'check-mpi: %s\n' "$*"; }
fail() {
  say "FAILED: $*"
  failures=$((failures + 1))
}
# All but the report, which tells times.
sums() { (cd "$1" && find . -type f ! -name 'report.*' -print0 | sort -z | xargs -0 sha256sum); }
same() { # what, expected, found
  if [ "$(sums "$2")" = "$(sums "$3")" ]; then say "$1: the files of one process"; else fail "$1: other files"; fi
}

compare() { # mpirun, ranks...
  local ranks
  for ranks in "${@:2}"; do
    rm -rf "$work/ranks"
    if ! "$1" -n $ranks "${job[@]}" "${small[@]}" --output "$work/ranks" > "$work/out" 2>&1; then
      cat "$work/out"
      fail "$1 -n $ranks"
    else
      same "$1 -n $ranks" "$work/one" "$work/ranks"
    fi
  done
}

# The process of a rank.
rank() {
  for process in /proc/[0-9]*; do
    if grep -zqxE "(OMPI_COMM_WORLD_RANK|PMI_RANK)=$1" "$process/environ" 2>/dev/null &&
      tr '\0' ' ' 2>/dev/null < "$process/cmdline" | grep -q -- "java.*--output $work/broken"; then
      echo "${process#/proc/}"
      return
    fi
  done
  return 1
}

# Signals a rank once the first block is on disk; the job must end by itself and name the rank, and a resume give the same files.
broken() { # mpirun, signal, rank, ranks that resume
  rm -rf "$work/broken" "$work/.broken.partial"
  "$1" -n 2 "${job[@]}" "${large[@]}" --output "$work/broken" --rank-timeout 30 > "$work/out" 2>&1 &
  local launcher=$!
  until [ -f "$work/.broken.partial/block-00000.json" ]; do
    kill -0 $launcher 2>/dev/null || { cat "$work/out"; fail "$1: ended before its first block"; return; }
    sleep 0.05
  done
  local signalled
  signalled=$(rank "$3")
  kill -"$2" "$signalled"
  local start=$SECONDS
  if wait $launcher; then fail "$1, SIG$2 to rank $3: the job succeeded"; fi
  kill -9 "$signalled" 2>/dev/null || true
  say "$1, SIG$2 to rank $3: ended after $((SECONDS - start)) s: $(grep -m 1 -E "rank $3|PID" "$work/out" || echo '?')"
  # Hydra, MPICH's mpirun, names the process and the host.
  grep -qE "rank $3|BAD TERMINATION" "$work/out" || { cat "$work/out"; fail "$1, SIG$2: no message names rank $3"; }
  [ -f "$work/.broken.partial/block-00000.json" ] || fail "$1, SIG$2: the first block is lost"
  "$1" -n "$4" "${job[@]}" "${large[@]}" --output "$work/broken" > "$work/out" 2>&1 || { cat "$work/out"; fail "resume"; return; }
  grep -q 'resuming after block' "$work/out" || fail "$1, SIG$2: nothing was resumed"
  same "$1, SIG$2 to rank $3, resumed by $4" "$work/large" "$work/broken"
}

"${job[@]}" "${small[@]}" --output "$work/one" > "$work/out" 2>&1 || { cat "$work/out"; exit 1; }
for mpi in ${MPI:-openmpi mpich}; do
  # One rank loads no MPI.
  if mpirun=$(command -v "mpirun.$mpi"); then compare "$mpirun" ${RANKS:-$([ $mpi = openmpi ] && echo 3 || echo 2)}; else say "mpirun.$mpi is not installed: skipped"; fi
done

if [ "${1:-}" = failures ]; then
  large=(--samples 64 --sequence-length 256)
  "${job[@]}" "${large[@]}" --output "$work/large" > "$work/out" 2>&1
  for mpi in ${MPI:-openmpi mpich}; do
    if mpirun=$(command -v "mpirun.$mpi"); then
      broken "$mpirun" KILL 0 3
      broken "$mpirun" KILL 1 1
      broken "$mpirun" STOP 1 2
      broken "$mpirun" STOP 0 2
    fi
  done
fi
exit $((failures > 0))
