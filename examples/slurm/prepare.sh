#!/usr/bin/env bash
# Prepares scans under Slurm as an array job: every task takes its share of the scans, one process a core, no GPU.
# From the project folder:
#
#   sbatch --array=0-7 examples/slurm/prepare.sh --format scannet --scans /data/scannet/scans --out outputs/scannet
#
# Flags are those of `gpt4scene prepare`. A task that was stopped goes on when it is submitted again: finished scenes are
# skipped. Any number of tasks write into one folder; the lists and attribute files are complete when the last one ends.
#SBATCH --job-name=gpt4scene-prepare
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --output=slurm-%x-%A_%a.out
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

cd "${SLURM_SUBMIT_DIR:?submit this with sbatch}"
if [ ! -d src/gpt4scene ]; then echo "submit this from the project folder" >&2; exit 2; fi
if [ $# -eq 0 ]; then echo "flags of gpt4scene prepare are missing, at least --scans and --out" >&2; exit 2; fi
if ! python -c 'import gpt4scene' 2>/dev/null; then export PATH="$PWD/.venv/bin:$PATH"; fi

first=${SLURM_ARRAY_TASK_MIN:-0}
export OMP_NUM_THREADS=1 # one process a core already keeps the node busy
exec python -m gpt4scene prepare "$@" --workers "${SLURM_CPUS_PER_TASK:-1}" \
    --num_shards "${SLURM_ARRAY_TASK_COUNT:-1}" --shard "$((${SLURM_ARRAY_TASK_ID:-0} - first))"
