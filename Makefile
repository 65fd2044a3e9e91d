# One command each. Everything is built in build/ (and build-*/).
BUILD ?= build

.PHONY: all test package bench soak fuzz format tidy style clean
all:
	@scripts/install-deps.sh build test
	@scripts/build.sh $(BUILD) -DCMAKE_BUILD_TYPE=RelWithDebInfo

# Everything: unit, golden and end-to-end tests, then the same under sanitizers.
test:
	./test.sh

# The Debian package, in build/.
package: all
	@scripts/install-deps.sh package
	cd $(BUILD) && cpack -G DEB

# Figures beside their floor or peer from the same run: see bench/README.md.
bench:
	@scripts/install-deps.sh build run bench
	@scripts/build.sh build-bench -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAEGIS_TESTS=OFF \
	    -DAEGIS_BENCH=ON
	python3 bench/run.py --build build-bench

# 10,000 executions in a row: what they leave behind.
soak: all
	python3 bench/soak.py --build $(BUILD)

# Each fuzz target for FUZZ_SECS seconds.
FUZZ_SECS ?= 30
fuzz:
	@scripts/install-deps.sh build fuzz
	FUZZ_SECS=$(FUZZ_SECS) scripts/fuzz.sh

format:
	@scripts/install-deps.sh tidy
	git ls-files 'src/*.cpp' 'src/*.h' 'guest/*.cpp' 'guest/*.h' | xargs clang-format-19 -i

tidy: all
	@scripts/install-deps.sh tidy
	git ls-files 'src/*.cpp' | grep -v -e _fuzz.cpp -e _bench.cpp | \
	    xargs -P $$(nproc) -n 4 clang-tidy-19 --quiet -p $(BUILD)

style:
	python3 tests/style/check.py

clean:
	rm -rf build build-asan build-bench build-fuzz
