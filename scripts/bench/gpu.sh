#!/usr/bin/env bash
# One GPU, random weights of real sizes, no download, under 9 minutes: gpu.py, with whatever python3 has torch and transformers.
#
#   bash scripts/bench/gpu.sh OUT [flags of gpu.py]        lines go to OUT/gpu.jsonl as they are measured
#
# PYTHON=/path/to/python3 chooses the interpreter; the package need not be installed in it.
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; }
case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    "" | -*) usage >&2; exit 2 ;;
esac
out=$1
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3)
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" "$root/scripts/bench/gpu.py" --out "$out" "$@"
