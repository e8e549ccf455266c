#!/usr/bin/env bash
# Peak memory and calibration time of mixtures in Mixtral's shape, every width an eighth of 8x7B's, two blocks, on the CPU.
#
#   docs/results/experts.sh [WORK_DIR] [OPT_GPTQ...]
#
# Prints a table of three mixtures, of which the second has twice the experts and the third twice the active ones: by plain GPTQ and
# by the default, with the Hessians of one expert at a time and with all. Writes 0.6 GB to WORK_DIR (out/experts). The
# program is ./opt-gptq unless another command is given; the classes of the tests must be compiled
# (mvn -q -pl cli -am test-compile), as `make bench-experts` does.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:-out/experts}
shift || true
program=("${@:-./opt-gptq}")
mkdir -p "$work"

number() { grep -o "\"$2\" *: *[0-9.eE+]*" "$1" | head -1 | grep -o '[0-9.eE+]*$'; }
# Seconds of all phases whose names match.
seconds() {
    tr -d '\n' <"$1" | tr -s ' ' | grep -oE "\"name\" *: *\"($2)\", *\"seconds\" *: *[0-9.eE+-]*" \
        | grep -oE '[0-9.eE+-]+$' | awk '{ sum += $1 } END { printf "%.1f", sum }'
}

printf '| calibrator | experts | active | Hessians at once | peak MiB | planned MiB | parameters of a block: total, active | '
printf 'calibrating s | solving s |\n|---|---|---|---|---|---|---|---|---|\n'
for shape in 'gptq 8 2 1' 'gptq 16 2 1' 'gptq 8 4 1' 'gptq 8 2 8' 'gptq 16 2 16' \
    'gradient 8 2 1' 'gradient 16 2 1' 'gradient 8 4 1' 'gradient 8 2 8' 'gradient 16 2 16'; do
    read -r calibrator experts active once <<<"$shape"
    model=$work/mixture-$experts-$active
    if [ ! -d "$model" ]; then
        OPT_GPTQ_CLASSES=cli/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.cli.bench.RandomMixture \
            "${program[@]}" "$model" samples/wiki-tiny-llama/tokenizer.json "$experts" "$active"
    fi
    "${program[@]}" quantize "$model" --calibrator "$calibrator" --device cpu --output "$work/out" --overwrite --fresh \
        --eval none --samples 16 --sequence-length 512 --experts-at-once "$once" \
        >"$work/$calibrator-$experts-$active-$once.log" 2>&1
    report=$work/$calibrator-$experts-$active-$once.json
    cp "$work/out/report.json" "$report"
    attention=$((2 * 512 * 512 + 2 * 128 * 512))
    expert=$((3 * 512 * 1792))
    awk -v c="$calibrator" -v e="$experts" -v a="$active" -v o="$once" -v d="$(number "$report" peakDevice)" \
        -v p="$(number "$report" planned)" -v t=$((attention + experts * expert)) -v u=$((attention + active * expert)) \
        -v f="$(seconds "$report" 'forward|forward original|hessian|hessian weighted|cross moments|gradients')" \
        -v s="$(seconds "$report" 'solve|solve variants')" \
        'BEGIN { printf "| %s | %d | %d | %d | %.0f | %.0f | %.1f M, %.1f M | %.1f | %.1f |\n", c, e, a, o, d / 2^20, p / 2^20, t / 1e6, u / 1e6, f, s }'
done
