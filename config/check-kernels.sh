#!/bin/sh
# Compiles every kernel with the compilers that are here (or one: check-kernels.sh SOURCE TARGET; the target is gfx906, gfx90a or
# nvidia), prints what each needs, and fails when one does not compile, spills registers, has waves of another width than it was
# compiled for or needs more than 64 KiB of shared memory.
#
#   hipcc: gfx906 and gfx90a, waves of 64 (apt-get install hipcc libamdhip64-dev rocm-device-libs)
#   nvcc:  sm_80 and sm_90, waves of 32, from the same PTX unless a source asks which it is: none asks for anything newer than sm_80
set -u
script=$(realpath "$0")
cd "$(dirname "$script")/../hip-kernels/src/main/gpu" || exit 1
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
options='-std=c++17 -O3'
amd_options="-S --cuda-device-only $options -ffp-contract=off -DGPU_WAVE=64 -DGPU_HIP=1"

row() { printf '%-18s %-8s %-20s %9s %9s %9s %6s %5s %s\n' "$@"; }

# Reads the metadata of a code object's assembly: one line a kernel.
amd_rows() {
    awk -v file="$1" -v arch="$2" '
        /^    \.name:/ { name = $2 }
        /\.group_segment_fixed_size:/ { lds = $NF }
        /^    \.private_segment_fixed_size:/ { stack = $2 }
        /^    \.sgpr_count:/ { sgpr = $2 }
        /^    \.sgpr_spill_count:/ { spill = $2 }
        /^    \.vgpr_count:/ { vgpr = $2 }
        /^    \.vgpr_spill_count:/ { spill += $2 }
        /^    \.wavefront_size:/ {
            bad = spill > 0 || stack > 0 || $2 != 64 || lds > 65536
            printf "%-18s %-8s %-20s %9d %9d %9d %6d %5d %s\n", file, arch, name, vgpr, sgpr, lds, spill + stack, $2, bad ? "BAD" : "ok"
            if (bad) failed = 1
        }
        END { exit failed }' "$3"
}

nvidia_rows() {
    awk -v file="$1" '
        /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4] }
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
        END { exit failed }' "$2"
}

# Where nvcc is installed hipcc takes that unless it is told.
amd() { HIP_PLATFORM=amd hipcc $amd_options "$@"; }

# One kernel for one target: prints its rows, or what the compiler said.
check() {
    source=$1
    arch=$2
    out="$work/$source.$arch"
    case $arch in
        gfx*)
            # The header, parsed once for all of them, or here for the one that was asked for.
            header=${parsed:+-Xclang -include-pch -Xclang "$parsed/$arch.pch"}
            # shellcheck disable=SC2086 # options are meant to be split
            amd --offload-arch="$arch" $header "$source" -o "$out.s" 2> "$out.log" && amd_rows "$source" "$arch" "$out.s"
            ;;
        nvidia)
            codes='-gencode arch=compute_80,code=[sm_80,sm_90]'
            grep -q __CUDA_ARCH__ "$source" && codes='-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90'
            # shellcheck disable=SC2086 # options are meant to be split
            nvcc -x cu -fatbin $codes $options --fmad=false -DGPU_WAVE=32 -DGPU_CUDA=1 \
                --resource-usage "$source" -o "$out.fatbin" > "$out.log" 2>&1 && nvidia_rows "$source" "$out.log"
            ;;
    esac > "$out.rows"
    state=$?
    [ $state = 0 ] || [ -s "$out.rows" ] || cat "$out.log"
    cat "$out.rows"
    return $state
}

parsed=${parsed:-}
if [ $# = 2 ]; then
    check "$1" "$2"
    exit
fi
targets=''
if command -v hipcc > /dev/null; then
    targets='gfx906 gfx90a'
    cp portability.h "$work/portability.hip"
    for arch in $targets; do
        amd --offload-arch="$arch" -Xclang -emit-pch "$work/portability.hip" -o "$work/$arch.pch" 2> "$work/log" ||
            { cat "$work/log"; exit 1; }
    done
fi
command -v nvcc > /dev/null && targets="$targets nvidia"
if [ -z "$targets" ]; then
    echo 'neither hipcc nor nvcc is here: no kernel was compiled'
    exit 1
fi
row source target kernel registers scalars shared spills wave ''
for source in *.hip; do
    for arch in $targets; do
        echo "$source $arch"
    done
done | parsed=$work xargs -P "$(nproc)" -L 1 "$script"
