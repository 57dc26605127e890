# Two commands for newcomers: `make book` builds the site, `make test` checks everything; `make` lists the others.
# What each of them does stands in tools/task.py, which also serves where there is no make.

PYTHON ?= $(if $(filter Windows_NT,$(OS)),python,python3)

.PHONY: help $(MAKECMDGOALS)
$(or $(MAKECMDGOALS),help):
	@$(PYTHON) tools/task.py $@
