#!/bin/sh
# Compiles every kernel with the compilers that are here, prints what each needs, and fails when one does not compile, spills
# registers, has waves of another width than it was compiled for or needs more than 64 KiB of shared memory.
#
#   hipcc: gfx906 and gfx90a, waves of 64 (apt-get install hipcc libamdhip64-dev rocm-device-libs)
#   nvcc:  sm_80 and sm_90, waves of 32
set -u
cd "$(dirname "$0")/../hip-kernels/src/main/gpu" || exit 1
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
failed=0
found=0
options='-std=c++17 -O3'

row() { printf '%-18s %-8s %-20s %9s %9s %9s %6s %5s %s\n' "$@"; }

# Reads the metadata of a code object's assembly: one line a kernel.
amd_rows() {
    awk -v file="$1" -v arch="$2" '
        /^    \.name:/ { name = $2 }
        /\.group_segment_fixed_size:/ { lds = $NF }
        /^    \.private_segment_fixed_size:/ { stack = $2 }
        /^    \.sgpr_count:/ { sgpr = $2 }
        /^    \.sgpr_spill_count:/ { scalars = $2 }
        /^    \.vgpr_count:/ { vgpr = $2 }
        /^    \.vgpr_spill_count:/ { spill = $2 }
        /^    \.wavefront_size:/ {
            # Spilled scalars lie in lanes of vector registers, not in memory: shown, not refused.
            bad = spill > 0 || stack > 0 || $2 != 64 || lds > 65536
            printf "%-18s %-8s %-20s %9d %9d %9d %6d %5d %s\n", file, arch, name, vgpr, sgpr, lds, spill + stack + scalars, $2, bad ? "BAD" : "ok"
            if (bad) failed = 1
        }
        END { exit failed }' "$3"
}

nvidia_rows() {
    awk -v file="$1" -v arch="$2" '
        /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
        /bytes stack frame/ { spill = $5 + $9 }
        /Used [0-9]+ registers/ {
            lds = 0
            for (i = 2; i <= NF; i++) {
                if ($i == "smem" || $i == "smem,") lds = $(i - 2)
                if ($i == "registers," || $i == "registers") regs = $(i - 1)
            }
            bad = spill > 0 || lds > 49152
            printf "%-18s %-8s %-20s %9d %9s %9d %6d %5d %s\n", file, arch, name, regs, "-", lds, spill, 32, bad ? "BAD" : "ok"
            if (bad) failed = 1
        }
        END { exit failed }' "$3"
}

row source target kernel registers scalars shared spills wave ''
if command -v hipcc > /dev/null; then
    found=1
    for source in *.hip; do
        for arch in gfx906 gfx90a; do
            # Where nvcc is installed hipcc takes that unless it is told.
            if HIP_PLATFORM=amd hipcc -S --cuda-device-only --offload-arch=$arch $options -ffp-contract=off -DGPU_WAVE=64 \
                -DGPU_HIP=1 "$source" -o "$work/out.s" 2> "$work/log"; then
                amd_rows "$source" $arch "$work/out.s" || failed=1
            else
                cat "$work/log"
                failed=1
            fi
        done
    done
fi
if command -v nvcc > /dev/null; then
    found=1
    for source in *.hip; do
        for arch in sm_80 sm_90; do
            if nvcc -x cu -cubin -arch=$arch $options --fmad=false -DGPU_WAVE=32 -DGPU_CUDA=1 --resource-usage "$source" \
                -o "$work/out.cubin" > "$work/log" 2>&1; then
                nvidia_rows "$source" $arch "$work/log" || failed=1
            else
                cat "$work/log"
                failed=1
            fi
        done
    done
fi
if [ $found = 0 ]; then
    echo 'neither hipcc nor nvcc is here: no kernel was compiled'
    exit 1
fi
exit $failed
