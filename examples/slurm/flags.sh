# Sourced by infer.sh and vllm_server.sh: what a script itself must know of the flags of `gpt4scene infer`.
# Sets flags (all of them, as given), model, output_dir, annotation_dir and tasks; the last of two values counts.
# shellcheck shell=bash disable=SC2034
flags=("$@")
model=
output_dir=
annotation_dir=evaluate/annotation
tasks=all
while [ $# -gt 0 ]; do
    case "$1" in
        --model=* | --output_dir=* | --annotation_dir=* | --tasks=*)
            name=${1%%=*}
            printf -v "${name#--}" %s "${1#*=}" ;;
        --model | --output_dir | --annotation_dir | --tasks) printf -v "${1#--}" %s "${2-}" ;;
    esac
    shift
done
if [ -z "$model" ]; then echo "--model is missing" >&2; exit 2; fi
if [ -z "$output_dir" ]; then echo "--output_dir is missing" >&2; exit 2; fi
