#!/usr/bin/env bash
# Quantizes tiny random models at 4 bits with the default settings and by rounding to nearest, verifies, and prints a table
# of the divergences from the original. Needs bash, awk and coreutils beside the program.
#
#   samples/interop/check_families.py --wide --count 1 --keep MODELS    (one model of every family; needs transformers)
#   docs/results/families.sh PROGRAM MODELS OUT [MODEL...]
#
# MODELS holds one folder for each model, named FAMILY-NUMBER or as the fixtures are. Their widths must be multiples of 32; one kind of layer
# whose outputs are not is left as it is. The models know no language: texts are random words, one for each token. A row that is done in
# OUT is kept; some 30 seconds each on two cores.
set -euo pipefail
export LC_ALL=C
[ $# -ge 3 ] || { printf 'usage: %s PROGRAM MODELS OUT [MODEL...]\n' "$0" >&2; exit 2; }
program=$1 models=$2 out=$3
shift 3
[ $# -gt 0 ] || set -- $(ls "$models")

words() { # COUNT SEED VOCABULARY: by the generator of Park and Miller, the same everywhere
    awk -v count="$1" -v x="$2" -v n="$3" \
        'BEGIN { for (i = 1; i <= count; i++) { x = (x * 16807) % 2147483647; printf "w%d%s", x % n, i % 64 ? " " : "\n" } }'
}

tokenizer() { # VOCABULARY
    awk -v n="$1" 'BEGIN {
        printf "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], \"normalizer\": null, "
        printf "\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, \"post_processor\": null, \"decoder\": null, "
        printf "\"model\": {\"type\": \"WordLevel\", \"unk_token\": \"w0\", \"vocab\": {"
        for (i = 0; i < n; i++) printf "%s\"w%d\": %d", i ? ", " : "", i, i
        print "}}}" }'
}

json() { sed -n "s/.*\"$2\" *: *\"\{0,1\}\([^\",]*\).*/\1/p" "$1" | head -n 1; }

divergence() { sed -n 's/.*"kl" *: *\([0-9.eE+-]*\).*/\1/p' "$1" | head -n 1; }

quantize() { # DIR METHOD OPTION...
    local dir=$1 method=$2
    shift 2
    [ "$method" = rtn ] || set -- "$@" --calibration "$dir/calibration.txt" --samples 16 --sequence-length 48
    "$program" quantize "$dir/model" --output "$dir/$method" --fresh --overwrite --device cpu --calibrator "$method" \
        --group-size 32 --eval "$dir/evaluation.txt" --window 48 "$@"
}

row() { # MODEL
    local dir=$out/$1 vocabulary method verified
    local skip=() without=
    vocabulary=$(json "$models/$1/config.json" vocab_size)
    mkdir -p "$dir/model"
    cp "$models/$1/config.json" "$models/$1/model.safetensors" "$dir/model/"
    tokenizer "$vocabulary" >"$dir/model/tokenizer.json"
    words 8192 1 "$vocabulary" >"$dir/calibration.txt"
    words 2048 77 "$vocabulary" >"$dir/evaluation.txt"
    for method in gradient rtn; do
        until quantize "$dir" $method "${skip[@]}" >"$dir/log" 2>&1; do
            # A layer that GPTQ's layout cannot hold stays as it is, in both rows.
            without=$(sed -n 's/.*\.\([a-z_]*\): expected a multiple of 32 outputs.*/\1/p' "$dir/log")
            [ -n "$without" ] && [ ${#skip[@]} = 0 ] || { tail -n 1 "$dir/log" >&2; return 1; }
            skip=(--skip ".*\.$without")
        done
    done
    verified=passed
    "$program" verify "$dir/gradient" --against "$dir/model" --device cpu >"$dir/verify" 2>&1 || verified="exit code $?"
    printf '| %s | %s | %.5f | %.5f | %s |\n' "$(json "$models/$1/config.json" model_type)" "$1" \
        "$(divergence "$dir/gradient/report.json")" "$(divergence "$dir/rtn/report.json")" "$verified${without:+, without $without}" >"$dir/row"
}

printf '| model_type | model | default, KL | round to nearest, KL | verify |\n|---|---|---|---|---|\n'
for model in "$@"; do
    [ -s "$out/$model/row" ] || row "$model"
    cat "$out/$model/row"
done
