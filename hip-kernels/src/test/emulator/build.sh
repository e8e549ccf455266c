#!/bin/sh
# Builds the emulator: build.sh FOLDER makes FOLDER/libhip-emulator-64.so and FOLDER/libhip-emulator-32.so, which stand
# in for libamdhip64.so. Needs g++ on x86-64 Linux.
set -eu
target=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
for wave in 64 32; do
    "${GXX:-g++}" -std=c++17 -O2 -g1 -Wall -Wextra -fPIC -fno-gnu-unique -DGPU_WAVE=$wave -shared \
        -Wl,-soname,libhip-emulator-$wave.so -Wl,-Bsymbolic fibers.cpp memory.cpp hip.cpp hiprtc.cpp -ldl -lpthread \
        -o "$target/libhip-emulator-$wave.so.new" &
done
wait
for wave in 64 32; do
    mv "$target/libhip-emulator-$wave.so.new" "$target/libhip-emulator-$wave.so"
done
