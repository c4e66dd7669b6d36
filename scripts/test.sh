#!/usr/bin/env bash
# The environment and every test. Arguments go to pytest: bash scripts/test.sh -m "not slow" tests/data
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
trap 'echo "test.sh: failed" >&2' ERR
bash "$root/scripts/setup.sh" dev deepspeed server
cd "$root"
"$root/.venv/bin/python" -m pytest "$@"
