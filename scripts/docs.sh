#!/usr/bin/env bash
# The documentation site: the environment with the extra docs, then the site in site/. It needs no network once
# the environment is there.
#
#   bash scripts/docs.sh              builds site/; open site/index.html
#   bash scripts/docs.sh serve        shows it at http://127.0.0.1:8000 and builds anew on every change; Ctrl-C ends
#
# Other arguments go to mkdocs build or mkdocs serve.
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
trap 'echo "docs.sh: failed" >&2' ERR
bash "$root/scripts/setup.sh" docs
cd "$root"
export NO_MKDOCS_2_WARNING=1 # a notice about another program
if [ "${1:-}" = serve ]; then
    shift
    exec "$root/.venv/bin/python" -m mkdocs serve --dev-addr 127.0.0.1:8000 "$@"
fi
"$root/.venv/bin/python" -m mkdocs build --strict "$@"
echo "docs.sh: open $root/site/index.html" >&2
