#!/usr/bin/env bash
# Fresh clone to report, offline but for the environment: synthetic rooms, fine-tuning, inference, scores, one page.
# Minutes on two CPU cores. Run again it goes on where it stopped. Flags go to `gpt4scene demo`:
#
#   bash scripts/demo.sh [--out DIR] [--seed 1] …        results in outputs/demo of this clone unless --out says otherwise
#
# Once the environment is there, `.venv/bin/gpt4scene demo --help` lists them.
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
step="scripts/setup.sh"
trap 'echo "demo.sh: failed in $step" >&2' ERR
bash "$root/scripts/setup.sh" gui # so that the two commands that it ends with can be called
step="gpt4scene demo (the line above names the step)"
"$root/.venv/bin/python" -m gpt4scene.demo --out "$root/outputs/demo" "$@"
