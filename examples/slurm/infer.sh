#!/usr/bin/env bash
# Answers and scores under Slurm, on one node or several; every node takes whole scenes. From the project folder:
#
#   sbatch --partition=gpu examples/slurm/infer.sh --model model_outputs/my_run --output_dir eval_outputs/my_run
#   sbatch --partition=gpu --nodes=2 --gres=gpu:4 examples/slurm/infer.sh --model … --output_dir … --tasks scanqa,sqa3d
#
# Flags are those of `gpt4scene infer`; --annotation_dir is evaluate/annotation when left out. A job that was stopped
# goes on when it is submitted again. The scores land in the job's output and in <output_dir>/scores.json.
#SBATCH --job-name=gpt4scene-infer
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:8
#SBATCH --time=1-00:00:00
#SBATCH --output=slurm-%x-%j.out
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

cd "${SLURM_SUBMIT_DIR:?submit this with sbatch}"
if [ ! -f evaluate/infer.py ]; then echo "submit this from the project folder" >&2; exit 2; fi
if ! python -c 'import gpt4scene' 2>/dev/null; then export PATH="$PWD/.venv/bin:$PATH"; fi

. examples/slurm/flags.sh # flags, model, output_dir, annotation_dir, tasks

# shellcheck disable=SC2016 # the variables are each node's own
srun --kill-on-bad-exit=1 bash -c '
    exec python evaluate/infer.py --num_shards "$SLURM_NTASKS" --shard "$SLURM_PROCID" "$@"' infer "${flags[@]}"
python evaluate/calculate_scores.py --predictions "$output_dir" --annotation_dir "$annotation_dir" --tasks "$tasks" \
    --json "$output_dir/scores.json"
