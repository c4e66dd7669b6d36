#!/usr/bin/env bash
# The environment and every test, by one process more than there are cores (8 at most), because some wait for servers.
# Arguments go to pytest:
#
#   bash scripts/test.sh                              all tests
#   bash scripts/test.sh -m "not slow" tests/data     the quick ones of a folder
#   bash scripts/test.sh -n 0 -x --pdb tests/data     in one process, stopping where the first fails
#
# Once the environment is there, `.venv/bin/python -m pytest --help` lists pytest's flags.
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
trap 'echo "test.sh: failed" >&2' ERR
bash "$root/scripts/setup.sh" dev deepspeed server serve video quant optimizers tracking gui docs
cd "$root"
unset PYTHONDONTWRITEBYTECODE # each of many processes would compile everything again
cores=$("$root/.venv/bin/python" -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')
"$root/.venv/bin/python" -m pytest -n $((cores + 1)) --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
