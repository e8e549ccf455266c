#!/usr/bin/env bash
# Two hosts on one machine: network namespaces with names and addresses of their own, joined by a cable (veth), one rank in each.
# Under Open MPI and under MPICH they write the files of one process. Needs root and iproute2 (Debian: iproute2, openmpi-bin,
# mpich); where one of them is missing, or namespaces are not allowed, it says so and succeeds.
#
#   config/check-hosts.sh
#
#   OPT_GPTQ   the program, if another than ./opt-gptq
#   MPI        openmpi or mpich, if not both
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'check-hosts: %s\n' "$*"; }
skip() { say "skipped: $*"; exit 0; }

[ "$(id -u)" = 0 ] || skip 'namespaces need root'
command -v ip > /dev/null || skip 'ip is missing (apt-get install iproute2)'

# Names that no other run of this uses.
id=$$
hosts=("gptq$id-a" "gptq$id-b")
addresses=(10.213.77.1 10.213.77.2)
work=$(mktemp -d)
cleanup() {
  for host in "${hosts[@]}"; do ip netns del "$host" 2> /dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT

ip netns add "${hosts[0]}" 2> /dev/null || skip 'this container may not make network namespaces'
ip netns add "${hosts[1]}"
ip link add "ga$id" netns "${hosts[0]}" type veth peer name "gb$id" netns "${hosts[1]}" 2> "$work/out" ||
  skip "no veth: $(cat "$work/out")"
for host in 0 1; do
  device=$([ $host = 0 ] && echo "ga$id" || echo "gb$id")
  ip -n "${hosts[host]}" addr add "${addresses[host]}/24" dev "$device"
  ip -n "${hosts[host]}" link set lo up
  ip -n "${hosts[host]}" link set "$device" up
done

# What the launchers call in the place of ssh: options, an address, a command.
cat > "$work/enter" << EOF
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
case \$1 in ${addresses[0]}) host=${hosts[0]} ;; ${addresses[1]}) host=${hosts[1]} ;; *) echo "no host \$1" >&2; exit 1 ;; esac
shift
exec ip netns exec \$host unshare --uts sh -c "hostname \$host; \$*"
EOF
chmod 755 "$work/enter"

export OPT_GPTQ_JAVA_OPTS="${OPT_GPTQ_JAVA_OPTS:--XX:TieredStopAtLevel=1}"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Open MPI over the cable alone; of MPICH's network libraries the one that is made of sockets.
export OMPI_MCA_plm_rsh_agent=$work/enter OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=10.213.77.0/24 \
  OMPI_MCA_oob_tcp_if_include=10.213.77.0/24 HYDRA_LAUNCHER=ssh HYDRA_LAUNCHER_EXEC=$work/enter FI_PROVIDER=tcp UCX_TLS=tcp,self

job=("$(realpath "${OPT_GPTQ:-./opt-gptq}")" quantize "$PWD/samples/wiki-tiny-llama" --device cpu --threads 1 --calibrator gptq
  --calibration "$PWD/README.md" --eval none --samples 4 --sequence-length 32 --rank-timeout 60)
# Bytes that the first host has sent over the cable.
sent() { ip -n "${hosts[0]}" -s -json link show dev "ga$id" | grep -oE '"tx":\{"bytes":[0-9]+' | grep -oE '[0-9]+$'; }
# All but the report, which tells times.
sums() { (cd "$1" && find . -type f ! -name 'report.*' -print0 | sort -z | xargs -0 sha256sum); }

"${job[@]}" --output "$work/one" > "$work/out" 2>&1 || { cat "$work/out"; exit 1; }
list=$(IFS=,; echo "${addresses[*]}")
failed=0
for mpi in ${MPI:-openmpi mpich}; do
  mpirun=$(command -v "mpirun.$mpi") || { say "mpirun.$mpi is not installed: skipped"; continue; }
  before=$(sent)
  [ $mpi = openmpi ] && where=(--host "$list") || where=(-hosts "$list")
  if ! timeout 120 "$work/enter" "${addresses[0]}" "$mpirun" -n 2 "${where[@]}" "${job[@]}" \
    --output "$work/$mpi" > "$work/out" 2>&1; then
    cat "$work/out"
    failed=1
  elif [ "$(sums "$work/one")" != "$(sums "$work/$mpi")" ]; then
    say "FAILED: $mpi, two hosts: other files"
    failed=1
  elif [ $(($(sent) - before)) -lt 500000 ]; then
    say "FAILED: $mpi: the ranks did not speak over the cable, $(($(sent) - before)) bytes went through it"
    failed=1
  else
    say "$mpi, two hosts: the files of one process; $((($(sent) - before) / 1000)) kB sent by the first host"
  fi
done
exit $failed
