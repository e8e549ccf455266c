#!/usr/bin/env bash
# Runs the distribution that `make dist` made as a node without Java, network or settings would: unpacked into an empty folder,
# with an empty environment. Expects the bytes that the checkout's own program writes.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's|.*<version>\(.*\)</version>.*|\1|p' pom.xml | head -n 1)
archive=target/opt-gptq-$version-linux-x86_64.tar.xz
emulator=$PWD/hip-kernels/target/emulator/libhip-emulator-64.so

fail() { printf 'check-dist: %s\n' "$*" >&2; exit 1; }

[ -f "$archive" ] || fail "$archive is missing; make dist makes it"
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -r "$work"' EXIT
chmod 755 "$work" # for the user without a home
mkdir "$work/an empty folder"
tar --extract --xz --file "$archive" --directory "$work/an empty folder"
dist=$(echo "$work/an empty folder"/*)
chmod -R a-w "$dist"
(cd "$dist" && find . -printf '%p %s %t\n' | sort) >"$work/before"

# What the launcher needs of a system; no java is among it, wherever this system has one.
mkdir "$work/tools"
for tool in sh readlink sed stty uname; do
    ln -s "$(command -v $tool)" "$work/tools/$tool"
done

ok() { printf 'ok: %s\n' "$*"; }

# What tells OpenBLAS which CPU to take this one for: without it, it would compute other bits than the checkout did.
openblas=()
while IFS= read -r variable; do
    openblas+=("$variable")
done < <(env | grep '^OPENBLAS_' || true)

# Runs the program with nothing in its environment but the given variables.
run() { # [VARIABLE=VALUE]... -- ARGUMENT...
    local variables=("${openblas[@]}")
    while [ "$1" != -- ]; do
        variables+=("$1")
        shift
    done
    shift
    env -i "${variables[@]}" "$dist/opt-gptq" "$@"
}

expect() { # TEXT FILE
    grep -qF -- "$1" "$2" || { cat "$2"; fail "expected '$1' in the output above"; }
}

run -- --version >"$work/out"
expect "opt-gptq $version" "$work/out"
ok "--version"

run OPT_GPTQ_JAVA_OPTS=-Xlog:aot:stderr -- quantize --help >"$work/out" 2>"$work/err"
expect 'Using AOT-linked classes: true' "$work/err"
ok "the startup cache is used"

run PATH="$work/tools" OPT_GPTQ_JDK_DIRS=/nonexistent -- devices >"$work/out" 2>&1
expect cpu "$work/out"
expect 'of this distribution' "$work/out"
if grep -q WARNING "$work/out"; then fail "a warning in $(cat "$work/out")"; fi
ok "devices, on a path without Java"

# The default settings, but little text: CI has run the README's line already.
job=(quantize samples/wiki-tiny-llama --samples 16 --sequence-length 128 --eval none --output)
./opt-gptq "${job[@]}" "$work/checkout-w4" >"$work/out" 2>&1 || { cat "$work/out"; fail "the checkout's quantize"; }
run PATH="$work/tools" OPT_GPTQ_JDK_DIRS=/nonexistent -- \
    "${job[@]/#samples/$dist/samples}" "$work/tiny-w4" >"$work/out" 2>&1 || { cat "$work/out"; fail quantize; }
ok "quantize"
cmp "$work/checkout-w4/model.safetensors" "$work/tiny-w4/model.safetensors"
ok "the same bytes as the checkout's"

# oneDNN's bits are those of its own kernels, which the checkout's has too.
if grep -qwE 'avx512_bf16|amx_bf16' /proc/cpuinfo; then
    half=(--calibrator gptq --precision half "${job[@]:1}")
    ./opt-gptq quantize "${half[@]}" "$work/checkout-half" >"$work/out" 2>&1 || { cat "$work/out"; fail "the checkout's quantize"; }
    run PATH="$work/tools" OPT_GPTQ_JDK_DIRS=/nonexistent -- quantize "${half[@]/#samples/$dist/samples}" "$work/tiny-half" \
        >"$work/out" 2>&1 || { cat "$work/out"; fail 'quantize --precision half'; }
    cmp "$work/checkout-half/model.safetensors" "$work/tiny-half/model.safetensors"
    ok "quantize --precision half, the same bytes as the checkout's"
else
    echo 'skipped: a quantize in bfloat16, since this CPU has no instructions for it'
fi

# With a home directory that is not there; better still, as a user whom the system does not know.
evaluate() { "$@" env -i HOME=/nonexistent "$dist/opt-gptq" eval perplexity "$work/tiny-w4" --text "$dist/README.md" --window 256 >"$work/out" 2>&1; }
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    evaluate setpriv --reuid=54321 --regid=54321 --clear-groups || { cat "$work/out"; fail 'eval as a user without a home'; }
    ok "eval perplexity, as a user whom the system does not know"
else
    evaluate || { cat "$work/out"; fail 'eval without a home'; }
    ok "eval perplexity, without a home directory"
fi

# The emulator that the tests have built stands in for the HIP runtime. Kernels are compiled by a second process of the same Java.
if [ -f "$emulator" ]; then
    run PATH=/usr/bin:/bin OPT_GPTQ_HIP_LIB="$emulator" OPT_GPTQ_ROCBLAS_LIB=none OPT_GPTQ_CACHE="$work/cache" -- \
        quantize "$dist/samples/wiki-tiny-llama" --device hip --samples 4 --sequence-length 64 --eval none \
        --output "$work/emulated-w4" >"$work/out" 2>&1 || { cat "$work/out"; fail 'quantize on the emulated GPU'; }
    [ -n "$(ls "$work/cache/kernels")" ] || fail 'the emulated GPU ran without compiled kernels'
    ok "quantize on the emulated GPU, whose kernels the bundled Java compiled"
else
    echo 'skipped: a quantize on the emulated GPU, since there is no g++ to build the emulator'
fi

(cd "$dist" && find . -printf '%p %s %t\n' | sort) >"$work/after"
diff "$work/before" "$work/after" || fail 'the program wrote into its own folder'
ok "nothing was written into the distribution's folder"
