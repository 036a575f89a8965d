# `make help` lists the targets. Two of them are all a reader needs: `make reproduce` and `make test`.
# An environment of your own can be used instead of .venv: make reproduce VENV=/path/to/environment

# What can be given. Each value is data: `value` takes it as it was typed, and a recipe sees it as "$$NAME", a variable of the
# shell, which is never read as a part of a command. So no recipe may say $(NAME), but to ask whether a value was given.
PYTHON ?= python3
TIER ?= cpu
TASKS ?= paper
GIVEN := PYTHON VENV ONLY TEXT TARGETS SET CORPUS SWARM TIER FROM RUN TO MODEL TASKS SHOTS LIMIT DATA OUT REPOSITORY LAB
$(foreach name,$(GIVEN),$(if $(value $(name)),$(eval override $(name) := $$(value $(name)))$(eval export $(name))))

ifdef VENV
export BIN := $(VENV)/bin
READY :=
SITE :=
else
export BIN := .venv/bin
READY := .venv/.ready
SITE := .venv/.site
endif
PY := "$$BIN/python"

RUNNER := $(PY) -m regmix.runner
export PYTHONDONTWRITEBYTECODE :=  # where it is set, each process compiles all that it imports

.PHONY: help reproduce beyond mine replicate replicate-target test exercises data export evaluate bench book book-check slides archive outputs lab prep install clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# ONLY: some of the exhibits or stages, with all that stands behind them: make reproduce ONLY="table_02 figure_03"
reproduce: $(READY) ## every table and figure of the paper, and the ledger (minutes; ONLY="table_02 figure_03" for some)
	@$(RUNNER) -- $(if $(ONLY),"$$ONLY")

beyond: $(READY) ## what the paper does not have: laws, optima, schedules (minutes; ONLY= as above)
	@$(RUNNER) --params nbs/params/beyond.yaml -- $(if $(ONLY),"$$ONLY")

test: $(READY) ## rules of the notebooks, the notebooks themselves, pytest
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal

# ONLY: numbers of chapters: make exercises ONLY="50 55"
exercises: $(READY) ## check each exercise: blank open, solution right, wrong answer refused (seconds; ONLY=50 for one chapter)
	@$(PY) -m regmix.exercises $(if $(ONLY),-- "$$ONLY")

# TEXT: a folder of text by domain, by default what the installation carries; TARGETS: the domains whose loss should be low, by default all of TEXT;
# SET: other parameters of nbs/walkthrough/your_corpus.ipynb, as in SET="n=64 domain_bytes=0"; how the text is read: text_field=body (or meta.text),
# domain_field=meta.set, valid_fraction=0.1, split_by=document (or origin, host), tokenizer=folder. A name or a value with blanks in TARGETS or SET
# has quotes of its own: TARGETS="law 'my code'"
mine: $(READY) ## your own corpus, from text to a mixture and a small model that tries it (TEXT=folder TARGETS="law code"; minutes)
	@$(RUNNER) nbs/walkthrough/your_corpus.ipynb --log "build/walkthrough/$$(basename -- "$${TEXT:-installed}" | tr : -).ipynb" \
	  $(if $(TEXT),--set-text="text=$$TEXT") $(if $(TEXT)$(TARGETS),--set-words="targets=$$TARGETS") $(if $(SET),--settings="$$SET")

# CORPUS: a folder of text by domain (<domain>-*.jsonl, ...) or of a corpus, or `pile`; SWARM: sections, by default all of them;
# SET: parameters that replace those of the file, as in SET="model=330K n=64"; TIER: cpu, or gpu for the values of a GPU
each = @$(RUNNER) --params "nbs/params/$(1)-$$TIER.yaml" --jobs 1 $(if $(CORPUS),--corpus="$$CORPUS") $(if $(SET),--settings="$$SET") \
	  -- $(if $(SWARM),"$$SWARM")
replicate: $(READY) ## train the swarms of nbs/params/replicate-$(TIER).yaml in full, resuming what is there (hours; CORPUS=..., TIER=gpu)
	$(call each,replicate)

# the same for the models that are trained on what the methods propose; CORPUS must be the text of data/replication, and the candidates' weights those of
# make replicate SWARM=unseen_4m
replicate-target: $(READY) ## train the target models of all methods on the text of data/replication and run tasks on them, resuming (hours; CORPUS=...)
	@test -n "$$CORPUS" || { echo "replicate-target: give the text that the swarms of data/replication were trained on: CORPUS=folder (see data/replication/README.md)" >&2; exit 2; }
	@test -n "$$SWARM" || test -d build/replication/unseen_4m/weights || { echo "replicate-target: the 64 candidates are not here: make replicate SWARM=unseen_4m with the same CORPUS= first (four hours of a core), or pick sections with SWARM=" >&2; exit 2; }
	$(call each,targets)

data: $(READY) ## fetch the authors' logs into data/authors, each checked against its SHA-256
	$(PY) -m regmix.paper

# FROM: the folder of a swarm whose weights were kept; RUN: the name of a run; TO: the new folder; CORPUS: where its corpus lies, if not in build/corpora
export: $(READY) ## write one model of a swarm as a folder for transformers (FROM=build/replication/targets/runs/fixed RUN=RegMix-0 TO=folder)
	@test -n "$$FROM" && test -n "$$RUN" && test -n "$$TO" || { echo "export: say which model, and where to: make export FROM=swarm RUN=name TO=folder [CORPUS=folder]" >&2; exit 2; }
	@$(PY) -m regmix.training $(if $(CORPUS),--corpus="$$CORPUS") -- "$$FROM" "$$RUN" "$$TO"

# MODEL: a folder of transformers or a name on the hub; TASKS: paper, the path of a folder of make_tasks or of one of its tasks, or names of lm-eval
# with blanks between them; SHOTS="0 1 2 3 4 5"; DATA: local copies
evaluate: $(READY) ## run downstream tasks on a model (MODEL=..., TASKS=paper, SHOTS=0, LIMIT=, DATA=, OUT=results.csv)
	@test -n "$$MODEL" || { echo "evaluate: say which model: make evaluate MODEL=folder-or-name [TASKS=paper]" >&2; exit 2; }
	@set -f; set -- $(if $(SHOTS),--shots $$SHOTS) $(if $(LIMIT),--limit="$$LIMIT") $(if $(DATA),--data="$$DATA") $(if $(OUT),--out="$$OUT"); \
	  if test -e "$$TASKS"; then IFS=; fi; $(PY) -m regmix.evaluation "$$@" --tasks $$TASKS -- "$$MODEL"

bench: $(READY) ## each claim of speed beside its rival, in one run
	$(PY) bench/sampling.py
	$(PY) bench/scoring.py
	$(PY) bench/training.py
	$(PY) bench/tokenise.py
	$(PY) bench/size.py

prep: $(READY) ## export the notebooks to regmix/, clean them, make README.md
	"$$BIN/nbdev_export"
	"$$BIN/nbdev_clean"
	$(PY) -m regmix.guide
	"$$BIN/jupyter" nbconvert --log-level ERROR --execute --no-input --to markdown nbs/index.ipynb --output-dir build --output index
	sed -E 's#\]\(([0-9a-z_/]+\.ipynb)\)#](nbs/\1)#g; s#\]\(\.\./#](#g' build/index.md | cat -s > README.md

# REPOSITORY: the address of a public copy of this repository, https://github.com/OWNER/NAME; left out, no page links to one
book: $(READY) $(SITE) ## the book as a site that needs no network, in build/book (minutes, after make reproduce; REPOSITORY= for links to Binder and Colab)
	@$(PY) -m book.build $(if $(REPOSITORY),--repository="$$REPOSITORY")

book-check: $(READY) $(SITE) ## open every page of build/book in a headless Chromium: no error, nothing fetched from elsewhere (minutes)
	@$(PY) -m book.browse build/book

slides: $(READY) $(SITE) ## slides of the three sessions that need no network, in build/slides
	@$(PY) -m book.slides

outputs: $(READY) ## run the tour, every chapter, the sessions and the walk-through in place, so that the notebooks hold their outputs; then prep
	"$$BIN/jupyter" nbconvert --log-level ERROR --to notebook --inplace --execute nbs/tour.ipynb nbs/[0-9]*.ipynb nbs/sessions/*.ipynb nbs/walkthrough/*.ipynb
	$(MAKE) prep

archive: $(READY) ## one file to deposit, dist/regmix-VERSION.zip: code, notebooks, data, figures, and a list of them with digests (seconds)
	@$(PY) -m regmix.archive

# LAB: options of JupyterLab, as on a server: make lab LAB="--no-browser --port=9000" (in a container --allow-root, too)
lab: $(READY) ## open the notebooks in JupyterLab, at the tour
	@set -f; JUPYTER_CONFIG_PATH=book/lab $(PY) -m jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/nbs/tour.ipynb $$LAB

install: $(READY) ## make .venv with everything pinned

clean: ## remove what can be rebuilt (not .venv, not data/authors)
	rm -rf build

.venv/.ready: pyproject.toml constraints.txt
	test -x .venv/bin/python || "$$PYTHON" -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[book,eval,test,checks]'
	touch $@

# what only `make book` needs
.venv/.site: .venv/.ready
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[site]'
	touch $@
