# The verbs of the project. Everything else is in CONTRIBUTING.md.
MVN ?= mvn

.PHONY: build test check bench bench-ops fmt dist clean

build:            ## compile and package, without tests: what ./opt-gptq runs
	$(MVN) -q package -DskipTests

test:             ## every test, the architecture rules and the format check
	$(MVN) verify

check: test

bench: build      ## where the time of a quantize and an evaluation goes, against the floor of this machine
	./opt-gptq bench --model ../shared/models/wiki-llama-14m --calibration ../shared/data/wikitext2-train-head.txt --text ../shared/data/wikitext2-test.txt

bench-ops:        ## the same per op
	$(MVN) -q -pl hip-kernels -am test-compile exec:exec@bench-ops

fmt:              ## format the sources
	$(MVN) -q spotless:apply

clean:
	$(MVN) -q clean
