#!/usr/bin/env bash
# Converts the three reference models in every way of docs/convert.md's table, takes one of them the whole way to int4, and prints both
# tables in Markdown. Needs bash and coreutils beside the program.
#
#   docs/results/convert.sh PROGRAM MODELS DATA DEVICE OUT [ROW...]
#
# PROGRAM is opt-gptq of a checkout or of a distribution, MODELS holds wiki-mpt-6m, wiki-llama-14m and wiki-opt-5m, DATA
# wikitext2-train-head.txt and wikitext2-test.txt. ROW is a pattern of names ('*heal*'); all without one, `list` prints them. A row that is
# done in OUT is kept, one that was interrupted resumes. STEPS, SAMPLES, LENGTH, WINDOW, TOKENS choose smaller ones. LIMIT stops after
# that many seconds. WORK (OUT/models) holds the models while they are needed, HEADLINE (wiki-mpt-6m) goes the whole way.
#
# Estimated for one H200 from the rates in docs/convert.md: 15 to 75 s a row without healing, 90 to 150 s healed (the conversion, 4.1 M
# tokens at 60,000 to 70,000 tokens/s, rates tried for 40 steps each), 180 to 300 s to ALiBi, 2 to 4 minutes the rest of headline; 25 to
# 45 minutes in all.
set -euo pipefail
export LC_ALL=C
[ $# -ge 5 ] || { printf 'usage: %s PROGRAM MODELS DATA DEVICE OUT [ROW...]\n' "$0" >&2; exit 2; }
program=$1 models=$2 data=$3 device=$4 out=$5
shift 5
wanted=("${@:-*}")
work=${WORK:-$out/models}
steps=${STEPS:-1000}
headline=${HEADLINE:-wiki-mpt-6m}
train=$data/wikitext2-train-head.txt
calibration=(--calibration "$train" --sampling sequential --samples "${SAMPLES:-128}" --sequence-length "${LENGTH:-512}")
evaluation=(--window "${WINDOW:-1024}")
heal=(--heal "$steps" --text "$train")
failed=0

# name | nats per token above the original that docs/convert.md aims at | options
rows='wiki-mpt-6m-r2|0.060|--ratio 2
wiki-mpt-6m-r2-heal|0.016|--ratio 2 HEAL
wiki-llama-14m-r2|0.010|--ratio 2
wiki-llama-14m-r2-heal|0.003|--ratio 2 HEAL
wiki-opt-5m-r2|0.007|--ratio 2
wiki-opt-5m-r2-heal|0.003|--ratio 2 HEAL
wiki-llama-14m-alibi-heal|0.045|--ratio 1 --positions alibi HEAL
wiki-opt-5m-alibi-heal|0.010|--ratio 1 --positions alibi HEAL
wiki-llama-14m-alibi-r2-heal|0.060|--ratio 2 --positions alibi HEAL
wiki-opt-5m-alibi-r2-heal|0.015|--ratio 2 --positions alibi HEAL
wiki-mpt-6m-r4|0.120|--ratio 4
wiki-mpt-6m-r4-heal|0.030|--ratio 4 HEAL
wiki-llama-14m-r3|0.025|--ratio 3
wiki-llama-14m-r3-heal|0.012|--ratio 3 HEAL
wiki-mpt-6m-kv1||--kv-heads 1
wiki-llama-14m-kv1|0.070|--kv-heads 1
wiki-opt-5m-kv1||--kv-heads 1'

say() { printf '%s\n' "$*" >&2; }

matches() { # NAME
    local pattern
    for pattern in "${wanted[@]}"; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $1 == $pattern ]] && return 0
    done
    return 1
}

# Runs a command in the folder of a row unless that is done: its output goes to OUT/NAME/log, its seconds to OUT/NAME/done. Ends
# the script where the time is over.
step() { # NAME COMMAND...
    local dir=$out/$1 begun=$SECONDS left=$((${LIMIT:-1000000} - SECONDS)) rc=0
    [ ! -s "$dir/done" ] || return 0
    [ "$left" -gt 10 ] || { say "$1: no time left; the same command goes on here"; exit 3; }
    mkdir -p "$dir" "$work"
    timeout "$left" "${@:2}" >"$dir/out" 2>>"$dir/log" || rc=$?
    [ $rc != 124 ] || { say "$1: stopped after $((SECONDS - begun)) s; the same command resumes it"; exit 3; }
    if [ $rc != 0 ]; then
        say "$1: failed with exit code $rc:"
        tail -n 3 "$dir/log" >&2
        failed=1
        return 1
    fi
    printf '%s\n' $((SECONDS - begun)) >"$dir/done"
    say "$1: $((SECONDS - begun)) s"
}

convert() { # NAME MODEL OPTION...
    # Overwriting is for what a done row has left behind in WORK; an interrupted one has not got that far.
    step "$1" "$program" convert-gqa "$models/$2" "${calibration[@]}" --eval "$data/wikitext2-test.txt" "${evaluation[@]}" \
        --device "$device" --output "$work/$1" --report "$out/$1/report" --overwrite "${@:3}"
}

# Sets found to the number behind what $2, a regular expression, matches first in file $1; to "" where there is none.
find_number() {
    found=
    [ -f "$1" ] && [[ $(<"$1") =~ $2[[:space:]]*:?[[:space:]]*([-+0-9.eE]+) ]] && found=${BASH_REMATCH[1]}
    return 0
}

millionths() { local number; printf -v number '%.6f' "$1"; printf '%d' "$((10#${number//[-.]/}))" ; }

within() { [[ $1 == -* ]] || [ "$(millionths "$1")" -le "$(millionths "$2")" ]; }

run_rows() {
    local name target options model
    while IFS='|' read -r name target options; do
        matches "$name" || continue
        [[ $name =~ ^wiki-[a-z]+-[0-9]+m ]] && model=${BASH_REMATCH[0]}
        # shellcheck disable=SC2086 # the options are meant to be split
        case $options in
        *HEAL) convert "$name" "$model" ${options%HEAL} "${heal[@]}" || continue ;;
        *) convert "$name" "$model" $options || continue ;;
        esac
        case $name in
        "$headline"-r2 | "$headline"-r2-heal) ;;
        *) rm -rf "${work:?}/$name" ;;
        esac
    done <<<"$rows"
}

print_rows() {
    local name target options report difference kl rate verdict
    printf '| conversion | nats above the original | KL divergence | aim | KV bytes per token | rate | seconds |\n|---|---|---|---|---|---|---|\n'
    while IFS='|' read -r name target options; do
        matches "$name" || continue
        report=$out/$name/report.json
        if [ ! -s "$out/$name/done" ]; then
            printf '| %s | not done | | %s | | | |\n' "$name" "$target"
            continue
        fi
        find_number "$report" '"difference"' && difference=$found
        find_number "$report" '"kl"' && kl=$found
        # Of what was healed, not of the rates that were tried.
        find_number "$report" '"healed" : \{[^[]*"rate"' && rate=$found
        verdict=
        [ -z "$target" ] || within "$difference" "$target" || verdict=', missed'
        [ -z "$target" ] || verdict="<= $target$verdict"
        find_number "$report" '"bytesPerTokenAfter"'
        printf '| %s | %+.4f | %.4f | %s | %s | %s | %s |\n' "$name" "$difference" "$kl" "$verdict" "$found" "$rate" \
            "$(<"$out/$name/done")"
    done <<<"$rows"
}

prompts() {
    local i
    for i in {1..32}; do
        printf '{"prompt": "In the year %d the city"}\n' $((1900 + i))
    done
}

measure() { # NAME MODEL_DIR: perplexity, sizes, and the speed of generating
    step "$1-eval" "$program" eval perplexity "$2" --baseline "$models/$headline" --text "$data/wikitext2-test.txt" \
        "${evaluation[@]}" --device "$device" --json "$out/$1-eval/eval.json" || return 1
    step "$1-inspect" "$program" inspect "$2" --json || return 1
    step "$1-generate" "$program" generate "$2" --prompts "$out/prompts.jsonl" --tokens "${TOKENS:-512}" --ignore-eos \
        --device "$device" --output "$out/$1-generate/answers.jsonl" --overwrite
}

run_headline() {
    mkdir -p "$out"
    prompts >"$out/prompts.jsonl"
    local base=$work/$headline
    # A model that is missing from WORK is made again.
    [ -d "$base-r2" ] || rm -f "$out/$headline-r2/done"
    [ -d "$base-r2-heal" ] || rm -f "$out/$headline-r2-heal/done"
    convert "$headline-r2" "$headline" --ratio 2 && convert "$headline-r2-heal" "$headline" --ratio 2 "${heal[@]}" || return 0
    step headline-quantize "$program" quantize "$base-r2-heal" "${calibration[@]}" --eval none --device "$device" \
        --output "$base-int4" --report "$out/headline-quantize/report" --overwrite || return 0
    measure headline-original "$models/$headline" && measure headline-r2 "$base-r2" && measure headline-healed "$base-r2-heal" \
        && measure headline-int4 "$base-int4" || return 0
    # What the cache costs and fewer heads save shows with long contexts alone; too much for a CPU.
    case $device in
    cuda* | hip*) step headline-decode "$program" bench --shape llama-7b --generate --device "$device" --kv-heads 8 --bits 4 \
        --cache float16,int4 --context 32768 --batch 7 --compare --steps 10 || return 0 ;;
    esac
}

headline_row() { # TEXT NAME
    local perplexity kl bytes kv speed
    if [ ! -s "$out/$2-generate/done" ]; then
        printf '| %s | not done | | | | | |\n' "$1"
        return
    fi
    find_number "$out/$2-eval/eval.json" '"perplexity"' && perplexity=$found
    find_number "$out/$2-eval/eval.json" '"kl"' && kl=$found
    find_number "$out/$2-inspect/out" '"bytes"' && bytes=$found
    find_number "$out/$2-inspect/out" '"bytesPerToken"' && kv=$found
    find_number "$out/$2-generate/log" 'tokens of 32 answers in [^:]*' && speed=$found
    find_number "$out/$2-generate/log" 'memory:'
    printf '| %s | %.3f | %.4f | %d.%01d MB | %s | %.0f | %s MiB |\n' "$1" "$perplexity" "$kl" \
        $((bytes / 1000000)) $((bytes % 1000000 / 100000)) "$kv" "$speed" "$found"
}

print_headline() {
    printf '\n| %s | perplexity | KL divergence | size | KV bytes per token | tokens/s, 32 answers | its memory, planned |\n|---|---|---|---|---|---|---|\n' \
        "$headline"
    headline_row original headline-original
    headline_row 2:1 headline-r2
    headline_row "2:1, healed $steps steps" headline-healed
    headline_row 'and int4' headline-int4
    if [ -s "$out/headline-decode/done" ]; then
        printf '\n```\n%s\n```\n' "$(<"$out/headline-decode/out")"
    fi
}

if [ "${wanted[*]}" = list ]; then
    while IFS='|' read -r name _; do printf '%s\n' "$name"; done <<<"$rows"
    printf 'headline\n'
    exit
fi
trap 'print_rows; matches headline && print_headline || true' EXIT
run_rows
if matches headline; then
    run_headline
fi
exit $failed
