#!/usr/bin/env bash
# Peak memory and calibration time of mixtures in Mixtral's shape, every width a quarter of 8x7B's, two blocks, plain GPTQ on the CPU.
#
#   docs/results/experts.sh [WORK_DIR] [OPT_GPTQ...]
#
# Prints a table of three mixtures, of which the second has twice the experts and the third twice the active ones. Writes
# 1.6 GB to WORK_DIR (out/experts). The program is ./opt-gptq unless another command is given; the classes of the tests must be compiled
# (mvn -q -pl cli -am test-compile), as `make bench-experts` does.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-out/experts}
shift || true
program=("${@:-./opt-gptq}")
mkdir -p "$work"

number() { grep -o "\"$2\" *: *[0-9.eE+]*" "$1" | head -1 | grep -o '[0-9.eE+]*$'; }
seconds() { # of a phase
    grep -o "\"name\" *: *\"$2\", *\"seconds\" *: *[0-9.eE+-]*" <(tr -d '\n' <"$1" | tr -s ' ') | head -1 | grep -o '[0-9.eE+-]*$'
}

printf '| experts | active | at once | device peak MiB | planned MiB | parameters of a block: total, active | forward s | hessian s |\n'
printf '|---|---|---|---|---|---|---|---|\n'
for shape in '8 2 1' '8 2 8' '16 2 1' '8 4 1'; do
    read -r experts active once <<<"$shape"
    model=$work/mixture-$experts-$active
    if [ ! -d "$model" ]; then
        OPT_GPTQ_CLASSES=cli/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.cli.bench.RandomMixture \
            "${program[@]}" "$model" samples/wiki-tiny-llama/tokenizer.json "$experts" "$active"
    fi
    "${program[@]}" quantize "$model" --calibrator gptq --device cpu --output "$work/out" --overwrite --fresh --eval none \
        --samples 32 --sequence-length 512 --experts-at-once "$once" >"$work/$experts-$active-$once.log" 2>&1
    report=$work/$experts-$active-$once.json
    cp "$work/out/report.json" "$report"
    attention=$((2 * 1024 * 1024 + 2 * 256 * 1024))
    expert=$((3 * 1024 * 3584))
    awk -v e="$experts" -v a="$active" -v o="$once" -v d="$(number "$report" peakDevice)" -v p="$(number "$report" planned)" \
        -v t=$((attention + experts * expert)) -v u=$((attention + active * expert)) \
        -v f="$(seconds "$report" forward)" -v h="$(seconds "$report" hessian)" \
        'BEGIN { printf "| %d | %d | %d | %.0f | %.0f | %.1f M, %.1f M | %.1f | %.1f |\n", e, a, o, d / 2^20, p / 2^20, t / 1e6, u / 1e6, f, h }'
done
