#!/usr/bin/env bash
# The published run: Qwen2-VL-7B, full fine-tuning with the vision tower frozen, BEV and 32 marked frames, 512 pixels.
#
#   bash scripts/qwen2vl_7b_full_sft_mark_32_3D_img512.sh [--key value …]          this machine's GPUs
#   PARTITION=gpu bash scripts/qwen2vl_7b_full_sft_mark_32_3D_img512.sh            asks Slurm for them
#   sbatch --nodes=2 --gres=gpu:8 scripts/qwen2vl_7b_full_sft_mark_32_3D_img512.sh   in a Slurm job, from the project folder
#
# Settings by environment (default): num_gpus (all), NNODES (1), full_batch_size (16), batch_size (1),
#   model_name_or_path, tokenized_path (empty: none), output_dir, CPUS_PER_TASK (20), MASTER_ADDR, MASTER_PORT,
#   NODE_RANK (without Slurm), JOB_NAME, QUOTA_TYPE. Flags go to src/train.py and win.
# Without a GPU (CUDA_VISIBLE_DEVICES=) it writes tokenized_path and stops there, as a 7B model cannot be trained then.
set -euo pipefail

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e '/^#SBATCH/d' -e 's/^# \{0,1\}//'; }
for word in "$@"; do
    case "$word" in -h | --help) usage; exit 0 ;; esac
done

name=qwen2vl_7b_full_sft_mark_32_3D_img512
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ ! -f "$root/src/train.py" ]; then root=${SLURM_SUBMIT_DIR:-$PWD}; fi # Slurm runs a copy of this file
cd "$root"
if [ ! -f src/train.py ]; then echo "$name: call it from the project folder" >&2; exit 2; fi
if ! python -c 'import gpt4scene' 2>/dev/null; then PATH="$root/.venv/bin:$PATH"; fi

count_gpus() {
    if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
        tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c . || true
    elif command -v nvidia-smi >/dev/null; then
        { nvidia-smi -L 2>/dev/null || true; } | grep -c . || true
    else
        echo 0
    fi
}

asks_slurm=
if [ -n "${PARTITION:-}" ] && [ -z "${SLURM_JOB_ID:-}" ]; then asks_slurm=yes; fi
export NNODES=${SLURM_NNODES:-${NNODES:-1}}
export num_gpus=${num_gpus:-$([ -n "$asks_slurm" ] && echo 8 || count_gpus)}
export MASTER_PORT=${MASTER_PORT:-$((RANDOM % 101 + 29400))}
export WANDB_DISABLED=${WANDB_DISABLED:-true}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-600} # time to save when stopped

# One call of this script on every node; each comes back here with the mark set.
again=(bash "$root/scripts/$name.sh" "$@")
if [ -n "$asks_slurm" ]; then
    GPT4SCENE_NODE=1 exec srun -p "$PARTITION" --job-name="${JOB_NAME:-gpt4scene}" --gres="gpu:$num_gpus" \
        --time="${TIME:-2-00:00:00}" ${QUOTA_TYPE:+--quota="$QUOTA_TYPE"} --nodes="$NNODES" --ntasks-per-node=1 \
        --cpus-per-task="${CPUS_PER_TASK:-20}" "${again[@]}"
fi
if [ -n "${SLURM_JOB_ID:-}" ] && [ "$NNODES" -gt 1 ] && [ -z "${GPT4SCENE_NODE:-}" ]; then
    GPT4SCENE_NODE=1 exec srun --nodes="$NNODES" --ntasks-per-node=1 "${again[@]}"
fi

processes=$((num_gpus > 0 ? num_gpus : 1))
batch_size=${batch_size:-1}
full_batch_size=${full_batch_size:-16}
per_step=$((batch_size * processes * NNODES))
if [ $((full_batch_size % per_step)) -ne 0 ]; then
    echo "$name: full_batch_size $full_batch_size is no multiple of batch_size x GPUs x nodes ($per_step)" >&2
    exit 2
fi
if [ -n "${GPT4SCENE_NODE:-}" ]; then
    NODE_RANK=$SLURM_NODEID
    read -r MASTER_ADDR < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
fi
if [ -z "${model_name_or_path:-}" ]; then
    model_name_or_path=./ckpts/models--Qwen--Qwen2-VL-7B-Instruct/
    if [ ! -e "$model_name_or_path" ]; then model_name_or_path=./ckpts/Qwen2-VL-7B-Instruct/; fi
fi
tokenized_path=${tokenized_path-tokenizer/qwen2vl_full_sft_mark_32_3D_img512/}
optional=()
if [ -n "$tokenized_path" ]; then optional+=(--tokenized_path "$tokenized_path"); fi
if [ "$num_gpus" -gt 0 ]; then optional+=(--deepspeed examples/deepspeed/ds_z3_config.json); fi

exec torchrun \
    --nnodes "$NNODES" \
    --nproc_per_node "$processes" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="$MASTER_PORT" \
    src/train.py \
    ${optional[@]+"${optional[@]}"} \
    --model_name_or_path "$model_name_or_path" \
    --do_train true \
    --stage sft \
    --finetuning_type full \
    --dataset sharegpt_data_chat_scene_32_images_3D_mark \
    --image_resolution 512 \
    --template qwen2_vl \
    --cutoff_len 32768 \
    --output_dir "${output_dir:-model_outputs/$name/}" \
    --num_train_epochs 1.0 \
    --logging_steps 10 \
    --save_steps 4000 \
    --save_total_limit 1 \
    --per_device_train_batch_size "$batch_size" \
    --gradient_accumulation_steps $((full_batch_size / per_step)) \
    --learning_rate 5.0e-6 \
    --lr_scheduler_type cosine \
    --warmup_ratio 0.1 \
    --bf16 true \
    --ddp_timeout 180000000 \
    --flash_attn fa2 \
    --report_to none \
    "$@"
