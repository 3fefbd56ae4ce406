# make demo   set up, build the bundled model for an STM32H7, run it on the emulated twin
# make test   set up, run all tests
# make test-fast   a minute and a half: tests of every room, without those of tests/tiers/slow.txt
# make test-c   the C runtime alone, by CMake, under sanitizers; needs no Python
# make lint   format, lint and types of the Python code, format of the C code
# make mutants   plants each fault of tests/mutation/faults in a copy of the tree and requires that its tests fail
# make test-cpus   the numeric tests as other processors would run them: AVX2, AVX-512, AMX, sums in other orders
# make bench-memory   RAM beside other runtimes: writes benchmarks/memory.md; each peer gets a venv of its own
# make bench-instructions   instructions of layers, block calls and steps on every emulated core: writes benchmarks/instructions.md
# make bench-host     a supervision step on this computer beside onnxruntime: writes benchmarks/host.md
.PHONY: demo test test-fast test-c test-cpus mutants setup lint clean bench-memory bench-host bench-instructions

demo: setup
	@bash scripts/demo.sh

test: setup
	@.venv/bin/python -m pytest -q -n 2

test-fast: setup
	@.venv/bin/python -m pytest -q -n 2 -m "not slow"

test-cpus: setup
	@.venv/bin/python -m tests.cpus -n 2

test-c:
	@cmake -S runtime_c -B build/runtime_c -DRECURC_WARNINGS_AS_ERRORS=ON -DRECURC_SANITIZE=ON
	@cmake --build build/runtime_c
	@cd build/runtime_c && ctest --output-on-failure

mutants: setup
	@.venv/bin/python -m tests.mutation --jobs 2

setup:
	@bash scripts/setup.sh

bench-memory: setup
	@.venv/bin/python benchmarks/memory.py

bench-host: setup
	@.venv/bin/python benchmarks/host.py

bench-instructions: setup
	@.venv/bin/python benchmarks/instructions.py

lint: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@find runtime_c tests benchmarks examples/embed -name "*.[ch]" -print0 | xargs -0 .venv/bin/clang-format --dry-run -Werror

clean:
	rm -rf build
