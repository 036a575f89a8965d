# `make help` lists the targets. Two of them are all a reader needs: `make reproduce` and `make test`.
# An environment of your own can be used instead of .venv: make reproduce VENV=/path/to/environment

PYTHON ?= python3
ifdef VENV
BIN := $(VENV)/bin
READY :=
else
BIN := .venv/bin
READY := .venv/.ready
endif
PY := $(BIN)/python

RUNNER = $(PY) -m regmix.runner
export PYTHONDONTWRITEBYTECODE :=  # where it is set, each process compiles all that it imports

.PHONY: help reproduce beyond mine replicate replicate-target test data export evaluate bench book lab prep install clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# ONLY: some of the exhibits or stages, with all that stands behind them: make reproduce ONLY="table_02 figure_03"
reproduce: $(READY) ## every table and figure of the paper, and the ledger (minutes; ONLY="table_02 figure_03" for some)
	@$(RUNNER) $(ONLY)

beyond: $(READY) ## what the paper does not have: laws, optima, schedules (minutes; ONLY= as above)
	@$(RUNNER) --params nbs/params/beyond.yaml $(ONLY)

test: $(READY) ## rules of the notebooks, the notebooks themselves, pytest
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal

# TEXT: a folder of text by domain, by default what the installation carries; TARGETS: the domains whose loss should be low, by default all of TEXT;
# SET: other parameters of nbs/walkthrough/your_corpus.ipynb, as in SET="n=64 domain_bytes=0"; how the text is read: text_field=body (or meta.text),
# domain_field=meta.set, valid_fraction=0.1, split_by=document (or origin, host), tokenizer=folder
comma := ,
empty :=
mine: $(READY) ## your own corpus, from text to a mixture and a small model that tries it (TEXT=folder TARGETS="law code"; minutes)
	@$(RUNNER) nbs/walkthrough/your_corpus.ipynb --log 'build/walkthrough/$(subst :,-,$(or $(notdir $(TEXT:%/=%)),installed)).ipynb' \
	  --set $(if $(TEXT),'text=$(TEXT)') $(if $(TEXT)$(TARGETS),'targets=[$(subst $(empty) $(empty),$(comma) ,$(strip $(TARGETS)))]') $(SET)

# CORPUS: a folder of text by domain (<domain>-*.jsonl, ...) or of a corpus, or `pile`; SWARM: sections, by default all of them;
# SET: parameters that replace those of the file, as in SET="model=330K n=64"
TIER ?= cpu
each = @test -f nbs/params/$(1) || { echo "there is no nbs/params/$(1)" >&2; exit 2; }; \
	$(RUNNER) $(or $(SWARM),$$($(RUNNER) --list --params nbs/params/$(1))) --params nbs/params/$(1) --jobs 1 \
	  $(if $(CORPUS),--corpus $(CORPUS)) $(if $(SET),--set $(SET))
replicate: $(READY) ## train the swarms of nbs/params/replicate-$(TIER).yaml in full, resuming what is there (hours; CORPUS=..., TIER=gpu)
	$(call each,replicate-$(TIER).yaml)

# the same for the models that are trained on what the methods propose; CORPUS must be the text of data/replication, and the candidates' weights those of
# make replicate SWARM=unseen_4m
replicate-target: $(READY) ## train the target models of all methods on the text of data/replication and run tasks on them, resuming (hours; CORPUS=...)
	@test -n "$(CORPUS)" || { echo "replicate-target: give the text that the swarms of data/replication were trained on: CORPUS=folder (see data/replication/README.md)" >&2; exit 2; }
	@test -n "$(SWARM)" -o -d build/replication/unseen_4m/weights || { echo "replicate-target: the 64 candidates are not here: make replicate SWARM=unseen_4m CORPUS=$(CORPUS) first (four hours of a core), or pick sections with SWARM=" >&2; exit 2; }
	$(call each,targets-$(TIER).yaml)

data: $(READY) ## fetch the authors' logs into data/authors, each checked against its SHA-256
	$(PY) -m regmix.paper

# FROM: the folder of a swarm whose weights were kept; RUN: the name of a run; TO: the new folder; CORPUS: where its corpus lies, if not in build/corpora
export: $(READY) ## write one model of a swarm as a folder for transformers (FROM=build/replication/targets/runs/fixed RUN=RegMix-0 TO=folder)
	@test -n "$(FROM)" && test -n "$(RUN)" && test -n "$(TO)" || { echo "export: say which model, and where to: make export FROM=swarm RUN=name TO=folder [CORPUS=folder]" >&2; exit 2; }
	@$(PY) -m regmix.training $(FROM) $(RUN) $(TO) $(if $(CORPUS),--corpus $(CORPUS))

# MODEL: a folder of transformers or a name on the hub; TASKS: paper, a folder of make_tasks, or names of lm-eval; SHOTS="0 1 2 3 4 5"; DATA: local copies
evaluate: $(READY) ## run downstream tasks on a model (MODEL=..., TASKS=paper, SHOTS=0, LIMIT=, DATA=, OUT=results.csv)
	@test -n "$(MODEL)" || { echo "evaluate: say which model: make evaluate MODEL=folder-or-name [TASKS=paper]" >&2; exit 2; }
	@$(PY) -m regmix.evaluation $(MODEL) --tasks $(or $(TASKS),paper) $(if $(SHOTS),--shots $(SHOTS)) $(if $(LIMIT),--limit $(LIMIT)) $(if $(DATA),--data $(DATA)) $(if $(OUT),--out $(OUT))

bench: $(READY) ## each claim of speed beside its rival, in one run
	$(PY) bench/sampling.py
	$(PY) bench/scoring.py
	$(PY) bench/training.py
	$(PY) bench/tokenise.py
	$(PY) bench/size.py

prep: $(READY) ## export the notebooks to regmix/, clean them, make README.md
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/jupyter nbconvert --log-level ERROR --execute --no-input --to markdown nbs/index.ipynb --output-dir build --output index
	sed -E 's#\]\(([0-9a-z_/]+\.ipynb)\)#](nbs/\1)#g; s#\]\(\.\./#](#g' build/index.md | cat -s > README.md

book: $(READY) ## run every chapter and the walk-through in place, so that the page shows its outputs; then prep
	$(BIN)/jupyter nbconvert --log-level ERROR --to notebook --inplace --execute nbs/[0-9]*.ipynb nbs/walkthrough/*.ipynb
	$(MAKE) prep

lab: $(READY) ## open the book in JupyterLab
	$(PY) -m jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/nbs/index.ipynb

install: $(READY) ## make .venv with everything pinned

clean: ## remove what can be rebuilt (not .venv, not data/authors)
	rm -rf build

.venv/.ready: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[book,eval,test,checks]'
	touch $@
