#!/usr/bin/env bash
# Makes the environment .venv: this package with the versions of constraints.txt. Quick when nothing has changed.
#
#   bash scripts/setup.sh [EXTRA …]        extras beside torch and metrics: dev, deepspeed, server, serve, video, quant,
#                                          optimizers, tracking, gui, docs, flash-attn, qwen-vl-utils
#
# PYTHON=/path/to/python3 chooses the interpreter (3.10 or newer). pip's own settings choose where packages come from.
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
for extra in "$@"; do
    if ! sed -n '/^\[project.optional-dependencies\]/,/^\[project.scripts\]/s/^\([a-z][a-z-]*\) = .*/\1/p' pyproject.toml | grep -qx -- "$extra"; then
        echo "setup.sh: '$extra' is no extra of pyproject.toml; --help names them" >&2
        exit 2
    fi
done
venv="$root/.venv"
stamp="$venv/.gpt4scene"
step="start"
trap 'echo "setup.sh: failed while: $step" >&2' ERR

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python3.10 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    for candidate in "${PYTHON:-}" python3.10 python3 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "setup.sh: Python 3.10 gets older releases than the tested ones; 3.11 or newer is better" >&2
            echo "$candidate"
            return
        fi
    done
    echo "setup.sh: no Python 3.10 or newer found; install one or set PYTHON=/path/to/python3" >&2
    return 1
}

step="waiting for another setup.sh in $venv"
mkdir -p "$venv"
if command -v flock >/dev/null; then
    exec 9>"$venv/.lock"
    flock 9
fi

# What is asked for now, and what an earlier call put in.
extras=$(printf '%s\n' torch metrics "$@" $(sed -n 2p "$stamp" 2>/dev/null | tr ',' ' ') | sort -u | paste -sd, -)
wanted=$(printf '%s\n%s\n' "$(cat pyproject.toml constraints.txt setup.py | cksum) $root" "$extras")
if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

step="finding Python"
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    step="making $venv with $python (on Debian and Ubuntu: apt install python3-venv)"
    "$python" -m venv --upgrade-deps "$venv" >&2 || "$python" -m venv "$venv" >&2
fi

step="installing .[$extras] with the versions of constraints.txt"
echo "setup.sh: $step; minutes the first time, then seconds" >&2
quiet=--quiet
if [ -t 2 ]; then quiet=; fi
rm -f "$stamp"
now=$(tr ',' '\n' <<<"$extras" | grep -vx flash-attn | paste -sd, -)
"$venv/bin/python" -m pip install $quiet --disable-pip-version-check -c constraints.txt -e ".[$now]" >&2
if [ "$now" != "$extras" ]; then # it is built against the torch that is there by now
    step="building flash-attn, which needs nvcc and takes long"
    "$venv/bin/python" -m pip install $quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e ".[flash-attn]" >&2
fi

step="importing the package"
"$venv/bin/python" -c 'import gpt4scene.cli'
printf '%s\n' "$wanted" >"$stamp"
echo "setup.sh: ready, $("$venv/bin/python" --version) in $venv" >&2
