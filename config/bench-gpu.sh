#!/bin/sh
# Measures one GPU at the shapes of real models, without a build: needs a Java 25 runtime and the jars alone.
#
#   config/bench-gpu.sh JAVA LIBS OUT [DEVICE]
#
#   JAVA    the java command of a runtime, a jlinked one will do
#   LIBS    folder of the program's jars: cli/target/lib of a build
#   OUT     folder for the tables, the JSON files and a log of the card's memory
#   DEVICE  default: auto
#
# tinyllama in float32 and in halves, then llama-7b in halves: the target is 90 s for the whole job, of which Hessians 12 s
# and solving 15 s, and 12 GB of device memory. Some four minutes in all on an H100.
set -u
java=${1:?the java command} libs=${2:?the folder of jars} out=${3:?a folder for results} device=${4:-auto}
mkdir -p "$out"
failed=0

run() {
    name=$1
    shift
    echo "== $name: $*"
    # The options of the launcher.
    "$java" --add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:+UseSerialGC -Xms32m -Xmx1g \
        -XX:MaxDirectMemorySize=4096g -XX:-UsePerfData -cp "$libs/*" dev.optgptq.cli.Main "$@" --device "$device" > "$out/$name.txt" 2> "$out/$name.log" || failed=1
    cat "$out/$name.txt"
    tail -n 4 "$out/$name.log"
}

# The card's own count of used memory, kept blocks, workspaces and context included; the process's alone is in the table.
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv
    nvidia-smi --query-gpu=timestamp,memory.used,utilization.gpu,power.draw --format=csv,nounits -lms 500 > "$out/card.csv" &
    watcher=$!
    trap 'kill $watcher' EXIT
fi

run tinyllama-half bench --shape tinyllama --json "$out/tinyllama-half.json"
run llama-7b-half bench --shape llama-7b --json "$out/llama-7b-half.json"
run tinyllama-float32 bench --shape tinyllama --precision float32 --json "$out/tinyllama-float32.json"

if [ -f "$out/card.csv" ]; then
    awk -F', ' 'NR > 1 && $2 > most { most = $2 } END { print "most memory used on the card: " most " MiB" }' "$out/card.csv"
fi
exit $failed
