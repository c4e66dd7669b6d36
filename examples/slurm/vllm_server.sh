#!/usr/bin/env bash
# Answers and scores through vLLM under Slurm, on one node or several. Every task starts a vLLM of its own on its share of
# the node's GPUs, asks it about whole scenes and stops it, so that no prefix is computed twice. From the project folder:
#
#   sbatch --partition=gpu examples/slurm/vllm_server.sh --model model_outputs/my_run --output_dir eval_outputs/my_run
#   sbatch --partition=gpu --nodes=2 --ntasks-per-node=4 examples/slurm/vllm_server.sh --model … --output_dir …
#
# Flags are those of `gpt4scene infer --engine server`; --annotation_dir is evaluate/annotation when left out. --model is a
# folder that vLLM loads (export a LoRA output first). With 8 GPUs and 4 tasks a node, a vLLM gets 2 (tensor parallel).
# Environment: vllm=PATH is the program when it lives in another environment; vllm_flags='…' are further flags for it;
# start_seconds=N bounds its start (1800). A job that was stopped goes on when it is submitted again.
#SBATCH --job-name=gpt4scene-vllm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
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

if [ -z "${GPT4SCENE_TASK:-}" ]; then # the job itself: start the tasks, then score
    export GPT4SCENE_TASK=1
    srun --kill-on-bad-exit=1 bash examples/slurm/vllm_server.sh "${flags[@]}"
    python evaluate/calculate_scores.py --predictions "$output_dir" --annotation_dir "$annotation_dir" --tasks "$tasks" \
        --json "$output_dir/scores.json"
    exit
fi

# One task: its GPUs, a free port, a server; the questions; the end of the server, whatever happened.
parallel=1
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
    node_tasks=${SLURM_NTASKS_PER_NODE:-1}
    if [ "${#gpus[@]}" -ge "$node_tasks" ]; then # else Slurm has given this task its own
        parallel=$((${#gpus[@]} / node_tasks))
        own=("${gpus[@]:SLURM_LOCALID*parallel:parallel}")
        CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${own[*]}")
    else
        parallel=${#gpus[@]}
    fi
    export CUDA_VISIBLE_DEVICES
fi
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
log=$output_dir/vllm-$SLURM_PROCID.log
mkdir -p "$output_dir"

server=
asking=
stop() {
    trap '' TERM INT
    for process in $asking $server; do kill -TERM "$process" 2>/dev/null || true; done
    if [ -z "$server" ]; then return; fi
    for _ in $(seq 60); do
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.5
    done
    kill -KILL -- "-$server" 2>/dev/null || true # workers that outlived it
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# vllm_flags holds several words. setsid makes the server and its workers one group, which is stopped as one.
# shellcheck disable=SC2086
setsid "${vllm:-vllm}" serve "$model" --host 127.0.0.1 --port "$port" --enable-prefix-caching \
    --limit-mm-per-prompt '{"image": 64, "video": 0}' --tensor-parallel-size "$parallel" ${vllm_flags:-} >"$log" 2>&1 &
server=$!
healthy() { python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null; }
until=$((SECONDS + ${start_seconds:-1800}))
while ! healthy "http://127.0.0.1:$port/health"; do
    if ! kill -0 "$server" 2>/dev/null; then echo "vLLM ended before it answered; the end of $log:" >&2; tail -n 20 "$log" >&2; exit 1; fi
    if [ "$SECONDS" -ge "$until" ]; then echo "vLLM did not answer within ${start_seconds:-1800} s; see $log" >&2; exit 1; fi
    sleep 2
done

python evaluate/infer.py --engine server --base_url "http://127.0.0.1:$port/v1" --num_shards "$SLURM_NTASKS" \
    --shard "$SLURM_PROCID" "${flags[@]}" &
asking=$!
status=0
wait "$asking" || status=$?
asking=
exit "$status"
