# make demo   set up, build the bundled model for an STM32H7, run it on the emulated twin
# make test   set up, run all tests
.PHONY: demo test setup lint clean

demo: setup
	@bash scripts/demo.sh

test: setup
	@.venv/bin/python -m pytest -q -n 2

setup:
	@bash scripts/setup.sh

lint: setup
	@.venv/bin/ruff check .

clean:
	rm -rf build
