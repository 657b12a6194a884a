# Every target creates the virtual environment that it needs. PYTHON and VENV choose another interpreter and folder.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet
WORKERS ?= 4
# A test that failed while others kept the machine busy is run once more, alone. What fails twice fails.
AGAIN = --last-failed --last-failed-no-failures none
# all that users may install besides the handler; what developers need is in requirements/
EXTRAS = demo,relay,completion
# of each kind of files that a source distribution must have, one
SDIST_TESTS = tests/test_package.py tests/test_distribution.py tests/docs/test_pages.py tests/events/test_reference.py \
	tests/spool/test_golden.py tests/inbox/http/test_official.py tests/examples/test_demo.py tests/cli/test_main.py

.PHONY: demo test lint types suite chaos fuzz cover lowest wheel sdist api browser sdk relay fleet broker ends stories docs bench clean

demo: $(VENV)/.demo ## uvicorn and gunicorn log to a local EmitKit: no account, no key
	$(BIN)/emitkit-logging demo

example-%: $(VENV)/.test ## run an example with a local EmitKit, such as make example-flask
	$(BIN)/python examples/run.py $*

test: lint types cover ## everything that must pass before a commit

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.lint $(VENV)/.test ## mypy checks the package, mypy and pyright a user's program
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

suite: $(VENV)/.test ## the tests alone; TESTS chooses some of them
	$(BIN)/pytest -n $(WORKERS) $(TESTS) || $(BIN)/pytest $(AGAIN)

chaos: $(VENV)/.test ## more and longer rounds of what may go wrong with a spool; takes minutes
	CHAOS=1 $(BIN)/pytest -n $(WORKERS) tests/spool/test_chaos.py tests/spool/test_disk.py tests/spool/test_schema.py \
		tests/relay/test_chaos.py

FUZZ_SECONDS ?= 100

fuzz: $(VENV)/.test ## feed parsers and endpoints with anything, for FUZZ_SECONDS each
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest -n 0 tests/fuzz

cover: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) || $(BIN)/coverage run -m pytest $(AGAIN)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lowest: $(VENV)/.test ## the tests with the lowest versions that setup.cfg allows
	sed -n '/^install_requires/,/^$$/s/^ *\(.*\)>=\(.*\)/\1==\2/p' setup.cfg > $(VENV)/lowest.txt
	$(INSTALL) -r $(VENV)/lowest.txt
	$(BIN)/pytest -n $(WORKERS) || $(BIN)/pytest $(AGAIN)
	rm $(VENV)/.test

wheel: ## the tests against the built wheel, in a folder without the source
	rm -rf $(VENV) build dist
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
	wheel=$$(ls dist/*.whl) && $(INSTALL) "$$wheel[$(EXTRAS)]" --requirement requirements/test.txt
	mkdir $(VENV)/elsewhere
	cp -RL tests examples docs requirements *.md Makefile *.toml *.cfg $(VENV)/elsewhere
	cd $(VENV)/elsewhere && (../bin/pytest -n $(WORKERS) || ../bin/pytest $(AGAIN))

sdist: $(VENV)/.sdist ## the source distribution tests itself: unpacked, in an environment of its own
	rm -rf dist $(VENV)/unpacked
	$(BIN)/python -m build --sdist --outdir dist . > $(VENV)/sdist.log || (cat $(VENV)/sdist.log; false)
	mkdir $(VENV)/unpacked
	tar --extract --gzip --file dist/*.tar.gz --directory $(VENV)/unpacked --strip-components 1
	$(MAKE) --directory $(VENV)/unpacked suite TESTS="$(SDIST_TESTS)"

api: $(VENV)/.api ## the local EmitKit against its OpenAPI document
	$(BIN)/pytest tests/openapi

browser: $(VENV)/.browser $(VENV)/client.js ## the local EmitKit's page and the npm client in Chromium, which must be installed
	$(BIN)/pytest -n $(WORKERS) tests/browser || $(BIN)/pytest $(AGAIN) tests/browser

GUIDE = from tests.docs.pages import blocks; print(blocks("guides/browsers.md", "js")[0].text)
$(VENV)/client.js: tests/browser/client/package.json tests/browser/client/main.js docs/guides/browsers.md | $(VENV)/.browser
	rm -rf $(VENV)/client
	cp -R tests/browser/client $(VENV)/client
	cd $(VENV)/client && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	$(BIN)/python -c '$(GUIDE)' > $(VENV)/client/guide.js
	cd $(VENV)/client && npx esbuild main.js guide.js --bundle --format=esm --log-level=warning --outdir=bundles
	mv $(VENV)/client/bundles/guide.js $(VENV)/guide.js
	mv $(VENV)/client/bundles/main.js $@

sdk: $(VENV)/.test $(VENV)/sdk/installed ## the official client for JavaScript against the local EmitKit; needs node and npm
	EMITKIT_SDK_CLIENT=$(VENV)/sdk $(BIN)/pytest tests/sdk

$(VENV)/sdk/installed: tests/sdk/client/package.json tests/sdk/client/main.js | $(VENV)/.test
	rm -rf $(VENV)/sdk
	cp -R tests/sdk/client $(VENV)/sdk
	cd $(VENV)/sdk && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	touch $@

relay: $(VENV)/.test ## the relay of a fleet with a real Redis, whose server must be installed
	EMITKIT_TEST_RELAY=1 $(BIN)/pytest -n $(WORKERS) tests/relay || EMITKIT_TEST_RELAY=1 $(BIN)/pytest $(AGAIN) tests/relay

fleet: $(VENV)/.test ## Redis, two relays, eight applications and a killed leader on this machine; needs redis-server
	$(BIN)/python examples/fleet.py

broker: $(VENV)/.broker ## Celery and RQ with Redis, whose server must be installed
	$(BIN)/pytest tests/broker

ends: $(VENV)/.ends ## each server and each start method of multiprocessing, and how its processes end
	$(BIN)/pytest -n $(WORKERS) tests/ends || $(BIN)/pytest $(AGAIN) tests/ends

stories: $(VENV)/.stories ## each guide of the documentation, followed step by step with its real server
	$(BIN)/pytest -n $(WORKERS) tests/stories || $(BIN)/pytest $(AGAIN) tests/stories

docs: $(VENV)/.docs ## the documentation, in .cache/docs; a warning is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs .cache/docs

bench: $(VENV)/.bench ## the figures of the documentation
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv* .cache build dist *.egg-info

$(VENV)/.demo: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/.%: requirements/%.txt requirements/test.txt setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[$(EXTRAS)]' --requirement $<
	touch $@
