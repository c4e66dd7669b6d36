#!/usr/bin/env bash
# Trains under Slurm, on one node or several. From the project folder:
#
#   sbatch --partition=gpu examples/slurm/train.sh examples/train/qwen2vl_full_sft.yaml [--key value …]
#   sbatch --partition=gpu --nodes=2 --gres=gpu:4 examples/slurm/train.sh examples/train/qwen2vl_lora_sft.yaml
#
# num_gpus (processes on each node) is the number of GPUs that the job got there; MASTER_PORT is made of the job's number.
# A job that runs into its time limit saves a checkpoint first; submit it again with --resume_from_checkpoint true.
# A job that loses a node goes back into the queue. When it starts again, it goes on from its newest checkpoint, or anew
# where there is none, unless the settings name a checkpoint themselves.
#SBATCH --job-name=gpt4scene-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=20
#SBATCH --gres=gpu:8
#SBATCH --time=2-00:00:00
#SBATCH --signal=TERM@900
#SBATCH --requeue
#SBATCH --output=slurm-%x-%j.out
#SBATCH --open-mode=append
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

cd "${SLURM_SUBMIT_DIR:?submit this with sbatch}"
if [ ! -f src/train.py ]; then echo "submit this from the project folder" >&2; exit 2; fi
if [ $# -eq 0 ]; then echo "name a YAML: sbatch examples/slurm/train.sh CONFIG.yaml [--key value …]" >&2; exit 2; fi
if ! python -c 'import gpt4scene' 2>/dev/null; then export PATH="$PWD/.venv/bin:$PATH"; fi

words=("$@")
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [[ "$*" != *resume_from_checkpoint* ]] &&
    ! grep -qs '^ *resume_from_checkpoint *:' "$1"; then
    words+=(--resume_from_checkpoint auto)
fi

export MASTER_ADDR MASTER_PORT
read -r MASTER_ADDR < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
MASTER_PORT=${MASTER_PORT:-$((SLURM_JOB_ID % 10000 + 20000))}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=600 # seconds to save when stopped

# shellcheck disable=SC2016 # the variables are each node's own
srun --kill-on-bad-exit=1 bash -c '
    gpus=${SLURM_GPUS_ON_NODE:-0}
    processes=${num_gpus:-$((gpus > 0 ? gpus : 1))}
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((${SLURM_CPUS_PER_TASK:-1} / processes > 0 ? ${SLURM_CPUS_PER_TASK:-1} / processes : 1))}
    exec torchrun --nnodes "$SLURM_NNODES" --nproc_per_node "$processes" --node_rank "$SLURM_NODEID" \
        --master_addr "$MASTER_ADDR" --master_port "$MASTER_PORT" src/train.py "$@"' train "${words[@]}"
