# The verbs of the project. Everything else is in CONTRIBUTING.md.
MVN ?= mvn
# Maven on the project's own Java formats its syntax and runs test classes in two JVMs beside each other.
JDK := $(shell config/java-home.sh)
ifneq ($(JDK),)
export JAVA_HOME := $(JDK)
endif

BENCH_MODEL ?= ../shared/models/wiki-llama-14m
BENCH_DATA ?= ../shared/data
HEADLINE_MODEL ?= ../shared/models/wiki-mpt-6m

.PHONY: build test check kernels dist check-dist bench bench-ops bench-memory bench-experts bench-export formats-table headline fuzz fmt clean

build:            ## compile and package, without tests: what ./opt-gptq runs
	$(MVN) -q package -DskipTests

test:             ## every test, the architecture rules and the format check
	$(MVN) verify

check: test

kernels:          ## every kernel by the offline compilers: hipcc for gfx906 and gfx90a, nvcc for sm_80 and sm_90
	config/check-kernels.sh

dist:             ## the program with a Java of its own: target/opt-gptq-VERSION-linux-x86_64.tar.xz
	config/dist.sh

check-dist:       ## the distribution, unpacked and run in an empty environment
	config/check-dist.sh

bench: build      ## a quantize with its evaluations, each phase against the floor of this machine
	./opt-gptq quantize $(BENCH_MODEL) --calibrator gptq --output out/bench --overwrite --sampling sequential --samples 128 \
	  --sequence-length 512 --calibration $(BENCH_DATA)/wikitext2-train-head.txt --eval $(BENCH_DATA)/wikitext2-test.txt
	./opt-gptq bench out/bench/report.json

bench-ops: build  ## each op's rate on this machine; OPS="cpu 2 linear" chooses device, threads and parts of names
	$(MVN) -q -pl hip-kernels -am test-compile
	OPT_GPTQ_CLASSES=hip-kernels/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.kernels.contract.BenchMode ./opt-gptq $(OPS)

bench-memory: build  ## memory of a quantize of a random model of TinyLlama-1.1B's shape (2.2 GB written to out/)
	$(MVN) -q -pl cli -am test-compile
	test -d out/random-tinyllama || OPT_GPTQ_CLASSES=cli/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.cli.bench.RandomLlama \
	  ./opt-gptq out/random-tinyllama samples/wiki-tiny-llama/tokenizer.json
	./opt-gptq quantize out/random-tinyllama --calibrator gptq --output out/bench-memory --overwrite --samples 16 --sequence-length 512 --eval none

bench-experts: build  ## peak memory and time of mixtures of experts in Mixtral's shape (0.6 GB written to out/)
	$(MVN) -q -pl cli -am test-compile
	docs/results/experts.sh out/experts

bench-export: build  ## export gguf of Llama-2-7B's shape beside copying the file (12 GB in out/export; LAYERS=8 takes 4)
	$(MVN) -q -pl cli -am test-compile
	OPT_GPTQ_CLASSES=cli/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.cli.bench.ExportSpeed \
	  ./opt-gptq out/export samples/wiki-tiny-llama/tokenizer.json $(or $(LAYERS),32)

formats-table: build  ## docs/results/formats.md's table, of the models in MODELS (samples/interop/check_families.py --wide --count 1 --keep MODELS)
	$(MVN) -q -pl cli -am test-compile
	OPT_GPTQ_CLASSES=cli/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.cli.bench.FormatTable \
	  ./opt-gptq $(or $(MODELS),$(error MODELS is missing: the folder of models)) out/formats

headline: build   ## 2:1, healed, int4: perplexity, KL divergence, size, KV bytes, tokens/s and memory of each; STEPS, SAMPLES and DEVICE choose
	HEADLINE=$(notdir $(HEADLINE_MODEL)) docs/results/convert.sh ./opt-gptq $(dir $(HEADLINE_MODEL)) $(BENCH_DATA) $(or $(DEVICE),auto) out/headline headline

fuzz: build       ## random inputs until INPUTS are read or MINUTES are over, seeds printed; 1 and a stack trace for any that is not understood or refused
	$(MVN) -q -pl calibrate -am test-compile
	OPT_GPTQ_CLASSES=calibrate/target/test-classes OPT_GPTQ_MAIN=dev.optgptq.calibrate.fuzz.FuzzCampaign \
	  ./opt-gptq $(or $(INPUTS),100000) $(or $(MINUTES),20) $(or $(SEED),1)

fmt:              ## format the sources
	$(MVN) -q spotless:apply

clean:
	$(MVN) -q clean
