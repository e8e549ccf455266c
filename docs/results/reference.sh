#!/usr/bin/env bash
# Quantizes both reference models with every setting of reference.md's table and prints the table: one row a setting, the
# perplexity that the GPTQ authors' code gives, then ours with the KL divergence from the unquantized model. About 4 minutes a row on
# two cores.
#
#   docs/results/reference.sh SHARED_DIR [WORK_DIR]
#
# SHARED_DIR holds models/wiki-llama-14m, models/wiki-mpt-6m and data/. Rows already measured in WORK_DIR are kept. OPT_GPTQ names
# another program than this checkout's, OPTIONS what each run is given besides ("--device cuda --precision float32").
set -euo pipefail
shared=${1:?the folder with models and data}
work=${2:-out/reference}
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${OPT_GPTQ:-$root/opt-gptq}
mkdir -p "$work"

# name | options | the authors' code: wiki-llama-14m, wiki-mpt-6m ("-" where it has no such mode)
rows='4 bits, g32, round to nearest|--bits 4 --group-size 32 --calibrator rtn|25.0790|24.1639
4 bits, g32, GPTQ|--calibrator gptq --bits 4 --group-size 32 --act-order none|24.9948|24.0033
4 bits, g128, round to nearest|--bits 4 --group-size 128 --calibrator rtn|25.1432|24.3643
4 bits, g128, GPTQ|--calibrator gptq --bits 4 --group-size 128 --act-order none|25.0797|24.1102
4 bits, g128, GPTQ, act-order group|--calibrator gptq --bits 4 --group-size 128 --act-order group|25.0517|24.1190
4 bits, g128, GPTQ, asymmetric|--calibrator gptq --bits 4 --group-size 128 --act-order none --no-symmetric|25.0539|24.0615
4 bits, per row, round to nearest|--bits 4 --group-size -1 --calibrator rtn|25.2612|24.4978
4 bits, per row, GPTQ|--calibrator gptq --bits 4 --group-size -1 --act-order none|25.1168|24.2160
3 bits, g128, round to nearest|--bits 3 --group-size 128 --calibrator rtn|26.4174|26.1988
3 bits, g128, GPTQ|--calibrator gptq --bits 3 --group-size 128 --act-order none|25.9632|25.2734
3 bits, g128, GPTQ, act-order group|--calibrator gptq --bits 3 --group-size 128 --act-order group|25.9545|25.2161
2 bits, g64, round to nearest|--bits 2 --group-size 64 --calibrator rtn|39.0015|47.8983
2 bits, g64, GPTQ|--calibrator gptq --bits 2 --group-size 64 --act-order none|34.3799|34.7657
2 bits, g64, GPTQ, act-order group|--calibrator gptq --bits 2 --group-size 64 --act-order group|34.1737|35.0561
4 bits, g32, GPTQ, act-order static|--calibrator gptq --bits 4 --group-size 32 --act-order static|-|-
4 bits, g128, GPTQ, act-order static|--calibrator gptq --bits 4 --group-size 128 --act-order static|-|-
3 bits, g128, GPTQ, act-order static|--calibrator gptq --bits 3 --group-size 128 --act-order static|-|-
2 bits, g64, GPTQ, act-order static|--calibrator gptq --bits 2 --group-size 64 --act-order static|-|-
4 bits, g128, GPTQ, scale search, act-order none|--calibrator gptq --scale-search --bits 4 --group-size 128 --act-order none|-|-
4 bits, g128, GPTQ, scale search, act-order static|--calibrator gptq --scale-search --bits 4 --group-size 128 --act-order static|-|-
3 bits, g128, GPTQ, scale search, act-order none|--calibrator gptq --scale-search --bits 3 --group-size 128 --act-order none|-|-
3 bits, g128, GPTQ, scale search, act-order static|--calibrator gptq --scale-search --bits 3 --group-size 128 --act-order static|-|-
2 bits, g64, GPTQ, scale search, act-order none|--calibrator gptq --scale-search --bits 2 --group-size 64 --act-order none|-|-
2 bits, g64, GPTQ, scale search, act-order static|--calibrator gptq --scale-search --bits 2 --group-size 64 --act-order static|-|-'

# Prints the first number of that name from report $1.
number() { sed -n "s/^ *\"$2\" *: *\([0-9.eE-]*\).*/\1/p" "$1" | sed -n "$3p"; }

# Prints "perplexity, KL divergence" of model $1 quantized with the options $3...; $2 names the setting.
row() {
    local model=$1 name=$2 key
    shift 2
    key=$work/$model-$(printf '%s' "$name" | tr -c 'a-zA-Z0-9\n' '-')
    if [ ! -s "$key.json" ]; then
        "$program" quantize "$shared/models/$model" --output "$key" --overwrite --eval "$shared/data/wikitext2-test.txt" \
            --window 1024 --calibration "$shared/data/wikitext2-train-head.txt" --sampling sequential --samples 128 \
            --sequence-length 512 ${OPTIONS:-} "$@" >"$key.log" 2>&1
        cp "$key/report.json" "$key.json"
        rm -rf "$key"
    fi
    # The first perplexity in a report is the original's.
    printf '%.4f, %.4f' "$(number "$key.json" perplexity 2)" "$(number "$key.json" kl 1)"
}

printf '| setting | wiki-llama-14m: authors | ours, KL | wiki-mpt-6m: authors | ours, KL |\n|---|---|---|---|---|\n'
while IFS='|' read -r name options llama mpt; do
    # shellcheck disable=SC2086 # the options are meant to be split
    printf '| %s | %s | %s | %s | %s |\n' "$name" \
        "$llama" "$(row wiki-llama-14m "$name" $options)" "$mpt" "$(row wiki-mpt-6m "$name" $options)"
done <<<"$rows"
