# The verbs of the project. Everything else is in CONTRIBUTING.md.
MVN ?= mvn

BENCH_MODEL ?= ../shared/models/wiki-llama-14m
BENCH_DATA ?= ../shared/data

.PHONY: build test check kernels bench fmt clean

build:            ## compile and package, without tests: what ./opt-gptq runs
	$(MVN) -q package -DskipTests

test:             ## every test, the architecture rules and the format check
	$(MVN) verify

check: test

kernels:          ## every kernel by the offline compilers: hipcc for gfx906 and gfx90a, nvcc for sm_80 and sm_90
	config/check-kernels.sh

bench: build      ## a quantize with its evaluations, each phase against the floor of this machine
	./opt-gptq quantize $(BENCH_MODEL) --output out/bench --overwrite --sampling sequential --samples 128 \
	  --sequence-length 512 --calibration $(BENCH_DATA)/wikitext2-train-head.txt --eval $(BENCH_DATA)/wikitext2-test.txt
	./opt-gptq bench out/bench/report.json

fmt:              ## format the sources
	$(MVN) -q spotless:apply

clean:
	$(MVN) -q clean
