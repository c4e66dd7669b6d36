#!/usr/bin/env bash
# Answers all tasks on all GPUs (or one CPU process), then scores them. A run that was stopped goes on.
#
#   NAME=my_run bash evaluate/infer.sh
#   bash evaluate/infer.sh --model model_outputs/my_run --output_dir eval_outputs/my_run --tasks scanqa,sqa3d
#
# Settings, by environment or flag (the flag wins):
#   NAME            --name            name of the run; the next two follow from it   (GPT4Scene-qwen2vl_full_sft_mark_32_3D_img512)
#   MODEL           --model           checkpoint, training output or LoRA folder     (model_outputs/$NAME)
#   OUTPUT_DIR      --output_dir      where answers and scores go                    (eval_outputs/outputs_3D_mark/$NAME)
#   ANNOTATION_DIR  --annotation_dir  question files, lists of images, boxes       (evaluate/annotation)
#   TASKS           --tasks           names separated by commas                      (all)
#   MEDIA_DIR       --media_dir       folder that image paths are relative to      (the repository)
#   CUDA_VISIBLE_DEVICES              GPUs to use                                    (all)
#   PYTHON                            interpreter                                    (.venv of the repository, else python3)
# Any other flag goes to `gpt4scene infer` (its --help lists them). Defaults lie in the repository, wherever you call from.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
name="${NAME:-GPT4Scene-qwen2vl_full_sft_mark_32_3D_img512}"
model="${MODEL:-}"
output_dir="${OUTPUT_DIR:-}"
annotation_dir="${ANNOTATION_DIR:-$root/evaluate/annotation}"
tasks="${TASKS:-all}"
media_dir="${MEDIA_DIR:-$root}"
others=()

usage() { sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -e '/^set /d' -e 's/^# \{0,1\}//'; }

while [ $# -gt 0 ]; do
    flag="$1"
    case "$flag" in
        -h | --help) usage; exit 0 ;;
        --*=*) value="${flag#*=}"; flag="${flag%%=*}"; used=1 ;;
        --*) value="${2-}"; used=2 ;;
        *) echo "error: '$flag' is not a flag; --help lists them" >&2; exit 2 ;;
    esac
    case "$flag" in
        --name | --model | --output_dir | --annotation_dir | --tasks | --media_dir)
            if [ -z "$value" ]; then echo "error: $flag needs a value" >&2; exit 2; fi ;;
    esac
    case "$flag" in
        --name) name="$value" ;;
        --model) model="$value" ;;
        --output_dir) output_dir="$value" ;;
        --annotation_dir) annotation_dir="$value" ;;
        --tasks) tasks="$value" ;;
        --media_dir) media_dir="$value" ;;
        *) others+=("$1"); used=1
           if [[ "$1" != *=* && $# -gt 1 && "$2" != --* ]]; then others+=("$2"); used=2; fi ;;
    esac
    shift "$used"
done
model="${model:-$root/model_outputs/$name}"
output_dir="${output_dir:-$root/eval_outputs/outputs_3D_mark/$name}"

python="${PYTHON:-}"
if [ -z "$python" ]; then
    if [ -x "$root/.venv/bin/python" ]; then python="$root/.venv/bin/python"; else python=python3; fi
fi

step() { echo "== $1" >&2; }
fail() { echo "error: $1 (evaluate/infer.sh, step '$2', exit status $3)" >&2; exit "$3"; }

step "infer: $model -> $output_dir"
"$python" "$root/evaluate/infer.py" --model "$model" --annotation_dir "$annotation_dir" --output_dir "$output_dir" \
    --tasks "$tasks" --media_dir "$media_dir" ${others[@]+"${others[@]}"} || fail "inference stopped" infer $?

step "score: $output_dir"
"$python" "$root/evaluate/calculate_scores.py" --predictions "$output_dir" --annotation_dir "$annotation_dir" \
    --tasks "$tasks" --json "$output_dir/scores.json" || fail "scoring stopped" score $?
