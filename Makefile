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

PARAMS := nbs/params/reproduce.yaml
RUNNER = $(PY) -m regmix.runner
SHELL_ONLY := $(patsubst %,regmix/%.py,_modidx tables choice recipes report cli)
CODE := $(filter-out $(SHELL_ONLY),$(wildcard regmix/*.py))
TRAINING := $(patsubst %,regmix/%.py,paper mixtures swarms text installed corpora models proxies)
PAPER := $(wildcard data/paper/*.csv)
OURS := $(wildcard data/replication/*/*.parquet data/replication/*/swarm.json)

# The sections of $(PARAMS); tests/test_pipeline.py checks that both lists agree.
SWARMS := smoke smoke_unseen
FITS := smoke_ridge  ridge_512 lightgbm_512 lightgbm_early_stopped ridge_no_web lightgbm_no_web ridge_all \
        lightgbm_stackexchange lightgbm_256_1m lightgbm_256_60m
OUR_FITS := ours_ridge ours_lightgbm ours_ridge_no_web ours_lightgbm_no_web ours_ridge_all ours_lightgbm_all ours_ridge_code \
        ours_ridge_hundred ours_lightgbm_hundred \
        ours_lightgbm_stackexchange ours_lightgbm_64_4m ours_ridge_64_4m ours_ridge_64_330k ours_ridge_64_1m
PANELS := panel
OUR_PANELS := ours_panel
PROPOSALS := proposals
OUR_PROPOSALS := ours_proposals
SIMULATIONS := smoke_search paper_text release_notebook top_512_1m top_256_1m top_256_60m
OUR_SIMULATIONS := ours_text ours_no_web ours_64_4m ours_k_1000 ours_top_256_1m ours_top_64_1m ours_top_64_330k
OUR_SCHEDULES := ours_horizons ours_transitions ours_transitions_loglinear
EXHIBITS := table_01 table_02 table_03 table_04 table_06 table_07 table_08 table_09 table_10 table_11 appendix_g \
            figure_01 figure_02 figure_03 figure_04 figure_05 figure_07 figure_08 figure_09 figure_14 figure_15 \
            laws optima
OUR_EXHIBITS := table_01_ours table_02_ours table_03_ours table_04_ours table_05_ours table_06_ours table_07_ours table_08_ours table_10_ours table_11_ours appendix_g_ours \
            figure_01_ours figure_02_ours figure_03_ours figure_04_ours figure_05_ours figure_06_ours figure_07_ours figure_08_ours figure_09_ours figure_10_ours \
            figure_14_ours figure_15_ours laws_ours optima_ours schedules_ours

stamps = $(addprefix build/stamps/,$(addsuffix .stamp,$(1)))

.PHONY: help reproduce mine replicate replicate-target test data export evaluate bench book lab prep install clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

reproduce: build/stamps/ledger.stamp build/stamps/smoke_search.stamp ## every table and figure, and the ledger, from the logs (minutes; try -j2)
	@echo "figures/README.md is up to date"

test: $(READY) ## rules of the notebooks, the notebooks themselves, pytest
	$(PY) -m pytest -n 2 --dist loadfile
	$(BIN)/nbdev_test --skip_folder_re '^[_.]|^stages$$|^exhibits$$|^walkthrough$$' --n_workers 2

# TEXT: a folder of text by domain, by default what the installation carries; TARGETS: the domains whose loss should be low, by default all of TEXT;
# SET: other parameters of nbs/walkthrough/your_corpus.ipynb, as in SET="n=64 domain_bytes=0"
comma := ,
empty :=
mine: $(READY) ## your own corpus, from text to a mixture and a small model that tries it (TEXT=folder TARGETS="law code"; minutes)
	@$(RUNNER) nbs/walkthrough/your_corpus.ipynb --log 'build/walkthrough/$(subst :,-,$(or $(notdir $(TEXT:%/=%)),installed)).ipynb' \
	  --set $(if $(TEXT),'text=$(TEXT)') $(if $(TEXT)$(TARGETS),'targets=[$(subst $(empty) $(empty),$(comma) ,$(strip $(TARGETS)))]') $(SET)

# CORPUS: a folder of text by domain (<domain>-*.jsonl, ...) or of a corpus, or `pile`; SWARM: sections, by default all of them;
# SET: parameters that replace those of the file, as in SET="model=330K n=64"
TIER ?= cpu
each = @test -f nbs/params/$(1) || { echo "there is no nbs/params/$(1)" >&2; exit 2; }; \
	for s in $(or $(SWARM),$$($(PY) -m regmix.runner --list --params nbs/params/$(1))); do \
	  $(RUNNER) $$s --params nbs/params/$(1) $(if $(CORPUS),--corpus $(CORPUS)) $(if $(SET),--set $(SET)) || exit 1; done
replicate: $(READY) ## train the swarms of nbs/params/replicate-$(TIER).yaml in full, resuming what is there (hours; CORPUS=..., TIER=gpu)
	$(call each,replicate-$(TIER).yaml)

# the same for the models that are trained on what the methods propose; CORPUS must be the text of data/replication, and the candidates' weights those of
# make replicate SWARM=unseen_4m
replicate-target: $(READY) ## train the target models of all methods on the text of data/replication and run tasks on them, resuming (hours; CORPUS=...)
	@test -n "$(CORPUS)" || { echo "replicate-target: give the text that the swarms of data/replication were trained on: CORPUS=folder (see data/replication/README.md)" >&2; exit 2; }
	@test -n "$(SWARM)" -o -d build/replication/unseen_4m/weights || { echo "replicate-target: the 64 candidates are not here: make replicate SWARM=unseen_4m CORPUS=$(CORPUS) first (four hours of a core), or pick sections with SWARM=" >&2; exit 2; }
	@$(MAKE) --no-print-directory $(call stamps,ours_text ours_no_web ours_64_4m ours_k_1000 $(OUR_SCHEDULES))
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

prep: $(READY) ## export the notebooks to regmix/, clean them, make README.md
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/jupyter nbconvert --log-level ERROR --execute --no-input --to markdown nbs/index.ipynb --output-dir build --output index
	sed -E 's#\]\(([0-9a-z_/]+\.ipynb)\)#](nbs/\1)#g; s#\]\(\.\./#](#g' build/index.md | cat -s > README.md

book: $(READY) ## run every chapter and the walk-through in place, so that the page shows its outputs; then prep
	$(BIN)/jupyter nbconvert --log-level ERROR --to notebook --inplace --execute nbs/[0-9]*.ipynb nbs/walkthrough/*.ipynb
	$(MAKE) prep

lab: $(READY) ## open the book in JupyterLab
	$(PY) -m jupyter lab nbs/index.ipynb

install: $(READY) ## make .venv with everything pinned

clean: ## remove what can be rebuilt (not .venv, not data/authors)
	rm -rf build

.venv/.ready: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[book,eval,test,parallel]'
	touch $@

# --- the authors' logs: if they can be had. They count as input once they are there. ---
AUTHORS := $(wildcard data/authors/*.csv)
ifneq ($(REGMIX_AUTHORS_DIR),)
ifneq ($(words $(AUTHORS)),8)
GIVEN := given
endif
endif
.PHONY: given
build/stamps/authors.stamp: $(AUTHORS) $(GIVEN) | $(READY)
	@$(PY) -m regmix.paper --if-possible
	@mkdir -p $(@D) && touch $@

# --- stages ---
$(call stamps,$(SWARMS)): build/stamps/%.stamp: nbs/stages/10_train_proxies.ipynb $(PARAMS) $(TRAINING) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,smoke_unseen): build/stamps/smoke.stamp
$(call stamps,smoke_ridge): build/stamps/smoke.stamp build/stamps/smoke_unseen.stamp
$(call stamps,smoke_search): build/stamps/smoke_ridge.stamp

$(call stamps,$(FITS)): build/stamps/%.stamp: nbs/stages/20_fit_regression.ipynb $(PARAMS) $(CODE) $(PAPER) build/stamps/authors.stamp | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(SIMULATIONS)): build/stamps/%.stamp: nbs/stages/30_simulate_mixtures.ipynb $(PARAMS) $(CODE) $(PAPER) build/stamps/authors.stamp | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(OUR_FITS)): build/stamps/%.stamp: nbs/stages/20_fit_regression.ipynb $(PARAMS) $(CODE) $(OURS) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(OUR_SIMULATIONS)): build/stamps/%.stamp: nbs/stages/30_simulate_mixtures.ipynb $(PARAMS) $(CODE) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(OUR_SCHEDULES)): build/stamps/%.stamp: nbs/stages/33_schedule_mixtures.ipynb $(PARAMS) $(CODE) $(OURS) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,ours_text): build/stamps/ours_lightgbm.stamp
$(call stamps,ours_k_1000): build/stamps/ours_lightgbm.stamp
$(call stamps,ours_64_4m): build/stamps/ours_lightgbm_64_4m.stamp
$(call stamps,ours_no_web): build/stamps/ours_lightgbm_no_web.stamp
$(call stamps,ours_top_256_1m): build/stamps/ours_ridge.stamp
$(call stamps,ours_top_64_1m): build/stamps/ours_ridge_64_1m.stamp
$(call stamps,ours_top_64_330k): build/stamps/ours_ridge_64_330k.stamp
$(call stamps,paper_text top_512_1m): build/stamps/lightgbm_512.stamp
$(call stamps,release_notebook): build/stamps/lightgbm_early_stopped.stamp
$(call stamps,top_256_1m): build/stamps/lightgbm_256_1m.stamp
$(call stamps,top_256_60m): build/stamps/lightgbm_256_60m.stamp

$(call stamps,$(PANELS)): build/stamps/%.stamp: nbs/stages/25_compare_laws.ipynb $(PARAMS) $(CODE) $(PAPER) build/stamps/authors.stamp | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(PROPOSALS)): build/stamps/%.stamp: nbs/stages/32_propose_mixtures.ipynb $(PARAMS) $(CODE) $(PAPER) build/stamps/authors.stamp | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(OUR_PANELS)): build/stamps/%.stamp: nbs/stages/25_compare_laws.ipynb $(PARAMS) $(CODE) $(OURS) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,$(OUR_PROPOSALS)): build/stamps/%.stamp: nbs/stages/32_propose_mixtures.ipynb $(PARAMS) $(CODE) $(OURS) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

# --- exhibits ---
$(call stamps,$(EXHIBITS)): build/stamps/%.stamp: nbs/exhibits/%.ipynb $(PARAMS) $(CODE) $(PAPER) build/stamps/authors.stamp | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,table_02): $(call stamps,ridge_512 lightgbm_512 lightgbm_early_stopped)
$(call stamps,figure_02 figure_04 figure_09): $(call stamps,ridge_512 lightgbm_512)
$(call stamps,table_06): $(call stamps,ridge_no_web lightgbm_no_web)
$(call stamps,table_07): $(call stamps,paper_text release_notebook)
$(call stamps,figure_03): $(call stamps,lightgbm_stackexchange)
$(call stamps,figure_07): $(call stamps,ridge_all)
$(call stamps,laws): $(call stamps,panel)
$(call stamps,optima): $(call stamps,proposals)
$(call stamps,figure_14): $(call stamps,top_512_1m top_256_1m top_256_60m)

$(call stamps,$(OUR_EXHIBITS)): build/stamps/%.stamp: nbs/exhibits/%.ipynb $(PARAMS) $(CODE) $(PAPER) $(OURS) | $(READY)
	@$(RUNNER) $* --stamp $@ --inputs $^

$(call stamps,table_02_ours): $(call stamps,ours_ridge_all ours_lightgbm_all)
$(call stamps,table_02_ours figure_02_ours figure_04_ours figure_09_ours): $(call stamps,ours_ridge ours_lightgbm)
$(call stamps,figure_03_ours): $(call stamps,ours_lightgbm_stackexchange)
$(call stamps,table_05_ours): $(call stamps,ours_ridge_hundred ours_lightgbm_hundred)
$(call stamps,table_06_ours): $(call stamps,ours_ridge_no_web ours_lightgbm_no_web)
$(call stamps,table_11_ours): $(call stamps,ours_ridge_64_4m)
$(call stamps,table_07_ours): $(call stamps,ours_text ours_top_256_1m ours_ridge ours_lightgbm)
$(call stamps,figure_07_ours): $(call stamps,ours_ridge_all ours_ridge_code)
$(call stamps,laws_ours): $(call stamps,ours_panel)
$(call stamps,optima_ours): $(call stamps,ours_proposals)
$(call stamps,figure_14_ours): $(call stamps,ours_top_256_1m ours_top_64_1m ours_top_64_330k)
$(call stamps,schedules_ours): $(call stamps,$(OUR_SCHEDULES))
$(call stamps,appendix_g_ours): $(call stamps,ours_ridge_all ours_lightgbm_all)

build/stamps/ledger.stamp: $(call stamps,$(EXHIBITS) $(OUR_EXHIBITS))
	@$(RUNNER) ledger --stamp $@
