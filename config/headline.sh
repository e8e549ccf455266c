#!/usr/bin/env bash
# The whole way on one model: merge the key-value heads two to one, heal, quantize to int4, and compare all with the original.
# Prints the table for the README; keeps the models in out/headline.
#
#   config/headline.sh [MODEL_DIR [DATA_DIR]]     # DATA_DIR holds wikitext2-train-head.txt and wikitext2-test.txt
#   STEPS=1000 SAMPLES=128 DEVICE=auto
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-../shared/models/wiki-mpt-6m}
data=${2:-../shared/data}
steps=${STEPS:-1000}
samples=${SAMPLES:-128}
device=${DEVICE:-auto}
train=$data/wikitext2-train-head.txt
test=$data/wikitext2-test.txt
out=out/headline
mkdir -p "$out"
run() { printf '+ ./opt-gptq %s\n' "$*" >&2; ./opt-gptq "$@" --device "$device"; }
common=(--calibration "$train" --sampling sequential --samples "$samples" --sequence-length 512 --eval none --overwrite)

run convert-gqa "$model" --ratio 2 "${common[@]}" --output "$out/gqa" >&2
run convert-gqa "$model" --ratio 2 "${common[@]}" --heal "$steps" --text "$train" --output "$out/healed" >&2
run quantize "$out/healed" "${common[@]}" --output "$out/int4" >&2

# The first number behind a key in JSON that this program wrote.
number() { sed -n "s/.*\"$2\" *: *\([-0-9.Ee+]*\).*/\1/p" "$1" | head -n "${3:-1}" | tail -n 1; }

row() { # NAME MODEL_DIR
    local name=$1 dir=$2 eval=$out/$1.json inspect=$out/$1-inspect.json
    run eval perplexity "$dir" --baseline "$model" --text "$test" --window 1024 --json "$eval" >&2
    ./opt-gptq inspect "$dir" --json >"$inspect"
    awk -v name="$name" -v ppl="$(number "$eval" perplexity)" -v kl="$(number "$eval" kl)" \
        -v bytes="$(number "$inspect" bytes)" -v kv="$(number "$inspect" bytesPerToken)" \
        'BEGIN { printf "| %s | %.3f | %.4f | %.1f MB | %d |\n", name, ppl, kl, bytes / 1e6, kv }'
}

printf '| %s | perplexity | KL divergence | size | KV bytes per token |\n|---|---|---|---|---|\n' "$(basename "$model")"
row original "$model"
row "2:1" "$out/gqa"
row "2:1, healed $steps steps" "$out/healed"
row "and int4" "$out/int4"
