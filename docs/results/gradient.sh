#!/usr/bin/env bash
# Quantizes both reference models with GPTQ, with gradient calibration and with learned rounding at 4, 3 and 2 bits, and prints the
# tables of gradient.md: perplexity, the share of GPTQ's loss that is recovered, and the divergence from the original model.
#
#   docs/results/gradient.sh SHARED_DIR [WORK_DIR] [DEVICE]
#
# SHARED_DIR holds models/wiki-llama-14m, models/wiki-mpt-6m and data/. On two cores some two hours, on a large GPU ten minutes. Rows
# already measured in WORK_DIR are kept.
set -euo pipefail
shared=${1:?the folder with models and data}
work=${2:-out/gradient}
device=${3:-cpu}
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$work"

# name | options
methods='GPTQ|--calibrator gptq --act-order none --precision float32
GPTQ, `--scale-search`|--calibrator gptq --act-order none --precision float32 --scale-search
GPTQ, `--refit-scales`|--calibrator gptq --act-order none --precision float32 --refit-scales
GPTQ, `--coordinate-descent 2`|--calibrator gptq --act-order none --precision float32 --coordinate-descent 2
GPTQ, both|--calibrator gptq --act-order none --precision float32 --refit-scales --coordinate-descent 2
GPTQ, `--scale-search` and both|--calibrator gptq --act-order none --precision float32 --scale-search --refit-scales --coordinate-descent 2
gradient without polish, `--no-weigh-tokens`|--no-refit-scales --coordinate-descent 0 --no-weigh-tokens
gradient without polish, `--no-propagate-error`|--no-refit-scales --coordinate-descent 0 --no-propagate-error
gradient without polish, `--fisher sampled`|--no-refit-scales --coordinate-descent 0 --fisher sampled
gradient without polish|--no-refit-scales --coordinate-descent 0
gradient, `--refit-scales` alone|--coordinate-descent 0
gradient, `--coordinate-descent 2` alone|--no-refit-scales
gradient (the default)|
gradient without polish, `--tune 100`|--no-refit-scales --coordinate-descent 0 --tune 100
gradient, `--tune 100`|--tune 100'

json() { sed -n "s/.*\"$2\" *: *\([0-9.eE+-]*\).*/\1/p" "$1" | head -n 1; }

# Prints "perplexity divergence" of model $1 quantized with the options $3...; $2 names the setting.
row() {
    local model=$1 key=$work/$1-$(printf '%s' "$2" | tr -c 'a-zA-Z0-9\n' '-')
    shift 2
    if [ ! -s "$key.json" ]; then
        "$root/opt-gptq" quantize "$shared/models/$model" --output "$key" --overwrite --fresh --eval none --device "$device" \
            --calibration "$shared/data/wikitext2-train-head.txt" --sampling sequential --samples 128 --sequence-length 512 \
            "$@" >"$key.log" 2>&1
        cp "$key/report.json" "$key.report.json"
        "$root/opt-gptq" eval perplexity "$key" --baseline "$shared/models/$model" --device "$device" \
            --text "$shared/data/wikitext2-test.txt" --window 1024 --json "$key.json" >"$key.eval" 2>&1
        rm -rf "$key"
    fi
    printf '%s %s' "$(json "$key.json" perplexity)" "$(sed -n 's/^KL divergence \([0-9.]*\).*/\1/p' "$key.eval")"
}

for model in wiki-llama-14m wiki-mpt-6m; do
    case $model in
    wiki-llama-14m) unquantized=24.8650 ;;
    *) unquantized=23.8553 ;;
    esac
    printf '\n%s, %s unquantized\n\n| method | 4 bits g128 | 3 bits g128 | 2 bits g64 |\n|---|---|---|---|\n' "$model" "$unquantized"
    while IFS='|' read -r name options; do
        printf '| %s |' "$name"
        for setting in '4 128' '3 128' '2 64'; do
            read -r bits group <<<"$setting"
            # shellcheck disable=SC2086 # the options are meant to be split
            read -r perplexity divergence <<<"$(row "$model" "w$bits-$name" --bits "$bits" --group-size "$group" $options)"
            if [ "$name" = GPTQ ]; then eval "plain$bits=$perplexity"; fi
            eval "plain=\$plain$bits"
            awk -v p="$perplexity" -v g="$plain" -v u="$unquantized" -v k="$divergence" \
                'BEGIN { printf " %.4f (%.2f), %s |", p, 1 - (p - u) / (g - u), k }'
        done
        printf '\n'
    done <<<"$methods"
done
