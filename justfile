# Blazz's recipes. `./justw RECIPE` makes the tools first; plain `just RECIPE` works too.
# Every recipe uses .venv, whatever else is on the PATH.

set positional-arguments
set shell := ["sh", "-eu", "-c"]

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

# Three workers a core: most tests wait most of the time. See tests/conftest.py for the browsers.
parallel := "-n " + `echo $(( $(nproc) * 3 ))` + " --maxprocesses 8 --dist loadgroup"
code := "schemas swarm_node control_plane tui cli sandbox bench"

# List the recipes.
default:
    @just --justfile "{{ justfile() }}" --list --unsorted

# ---- run -------------------------------------------------------------------------------------

# The whole loop on this machine, with a stand-in for WhatsApp. `demo --once` walks the story.
demo *args: _run
    @blazz demo "$@"

# Control plane, node and embedded NATS on this machine, against the real WhatsApp Web.
up *args: _run
    @blazz up "$@"

# What this machine lacks, and how to mend it.
doctor *args: _base
    @blazz doctor "$@"

# The fleet terminal.
tui *args: _base
    @blazz tui "$@"

# A benchmark, e.g. `bench first --json`. Its last line on stdout is one JSON object.
bench *args: _run
    @blazz bench "$@"

# Hosts made on this machine (as root), rolled to a new release by the real playbooks.
rollout *args: _run _ansible
    @blazz bench rollout "$@"

# Two regions of such hosts, the way between them cut and healed.
partition *args: _run _ansible
    @blazz bench partition "$@"

# ---- check -----------------------------------------------------------------------------------

# Everything that must hold before a change lands: lint, then every test, in parallel.
test *args: _dev _run _mongo _ansible
    #!/bin/sh
    # Tests run even when lint fails, so that one run tells everything; either fails the recipe.
    set -u
    lint=0
    just --justfile "{{ justfile() }}" lint || lint=$?
    rm -f .pytest_cache/again
    pytest {{ parallel }} "$@" || {
        failed=$?
        [ -s .pytest_cache/again ] || exit "$failed"
        echo "These failed for want of time (tests/conftest.py says which do); once more, alone:" >&2
        mv .pytest_cache/again .pytest_cache/again-now
        xargs -d '\n' pytest <.pytest_cache/again-now || exit 1
    }
    [ "$lint" = 0 ] || { echo "tests passed, but lint failed: see above" >&2; exit "$lint"; }

# Style, types, the import rules, and generated files that must match their source.
lint: _dev
    @ruff check .
    @ruff format --check .
    @mypy {{ code }} tests hatch_build.py
    @lint-imports --no-logo
    @python -m schemas.json_schema --check

# The Ansible collection: ansible-lint's production profile, each playbook's syntax, and its tests.
ansible *args: _dev _ansible
    #!/bin/sh
    set -eu
    (
        cd ansible
        export PATH="$PWD/../.venv-ansible/bin:$PATH"
        ansible-lint --offline --profile production
        ansible-playbook --syntax-check playbooks/*.yml
    )
    pytest tests/contract/test_ansible.py "$@"

# Rewrite the code in the project's format, and mend what ruff can mend by itself.
fmt: _dev
    @ruff format .
    @ruff check --fix .

# Tests without servers or browsers: seconds.
unit *args: _dev
    @./justw --provide wa-js
    @pytest --ignore=tests/integration --ignore=tests/e2e -m "not browser and not nats" "$@"

# Tests on a real nats-server, without a browser.
integration *args: _dev _mongo
    @pytest -m "nats and not browser" {{ parallel }} "$@"

# A process killed at every step there is (a test run takes a third of them).
matrix *args: _dev _run
    @BLAZZ_TEST_WHOLE_MATRIX=1 pytest tests/chaos/test_crash_matrix.py "$@"

# Tests in a real Chromium.
e2e *args: _dev _run
    @pytest -m browser {{ parallel }} "$@"

# The fleet in virtual time: `sim count=10000` plays many seeds, `sim seed=42` tells one's story.
sim *args: _dev
    @python -m tests.simulation.run "$@"

# ---- maintain --------------------------------------------------------------------------------

# Write the JSON Schemas anew from schemas/.
schemas: _base
    @python -m schemas.json_schema

# Resolve the Python dependencies anew: requirements*.in into pinned, hashed locks.
lock *args: _base
    #!/bin/sh
    set -eu
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    trap 'exit 130' INT TERM
    python -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check uv
    compile() {
        "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
            --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
    }
    compile requirements.in -o requirements.lock "$@"
    compile requirements-dev.in -c requirements.lock -o requirements-dev.lock
    compile requirements-npm.in -o requirements-npm.lock
    compile requirements-mongo.in -o requirements-mongo.lock
    compile requirements-ansible.in -o requirements-ansible.lock

# Build the wheel into dist/, with the wa-js bundle in it.
wheel: _base
    @./justw --provide wa-js
    @rm -rf dist
    @python -m hatchling build -t wheel

# Remove what checks and builds leave behind; .venv, node_modules and Blazz's data stay.
clean:
    rm -rf dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
    find {{ code }} tests -name __pycache__ -type d -prune -exec rm -rf {} +

_base:
    @./justw --provide

_dev:
    @./justw --provide dev

_run:
    @./justw --provide wa-js chromium

# A MongoDB wire server for the store tests: GPL, so apart from .venv and never shipped. Nothing to
# do where BLAZZ_TEST_MONGO_URI names a real one.
_mongo: _base
    @[ -n "${BLAZZ_TEST_MONGO_URI-}" ] || just --justfile "{{ justfile() }}" _apart mongo

# Ansible and its linter (GPL): apart from .venv and never shipped.
_ansible: _base (_apart "ansible")

# What is in requirements-NAME.lock, in .venv-NAME.
_apart name:
    #!/bin/sh
    set -eu
    venv=.venv-{{ name }}
    wanted="$(python -V) $(cksum requirements-{{ name }}.lock)"
    [ -f "$venv/.stamp" ] && [ "$(cat "$venv/.stamp")" = "$wanted" ] && exit 0
    rm -rf "$venv"
    python -m venv "$venv" >&2
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        --require-hashes -r requirements-{{ name }}.lock >&2
    printf '%s' "$wanted" >"$venv/.stamp"
