#!/usr/bin/env bash
# DRIQA's default weights from photographs, in one command: restorers, corpora, labels, training, figures on the test contents.
#   benchmarks/make_driqa.sh
# docs/data.md says what the variables below hold. Every step goes on where an earlier run of this script stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DRMETRIC_DATA:?the folder of photographs}" "${DRMETRIC_RESTORERS:?the published restorers}"
: "${DRMETRIC_BIQ2021:?the folder of BIQ2021}" "${DRMETRIC_LPIPS_BACKBONE:?the weights of SqueezeNet 1.1}"
export DRMETRIC_SMALL_RESTORERS=${DRMETRIC_SMALL_RESTORERS:-runs/small} PYTHONPATH=.
recipes=benchmarks/recipes first=runs/driqa-mobilenetv2-7 second=runs/driqa-mobilenetv2-8 workers=${WORKERS:-$(nproc)}

python -m benchmarks.restorers.small "$DRMETRIC_DATA/cid22-training" "$DRMETRIC_SMALL_RESTORERS"
python -m benchmarks.best_photographs "$DRMETRIC_BIQ2021" "$DRMETRIC_DATA/biq2021-best"
drmetric corpus $recipes/corpus-wide.toml --output runs/corpus-wide --workers "$workers"
drmetric train $recipes/driqa-mobilenetv2-7.toml --resume
# judges the states of the first part, and writes each as weights beside its checkpoint
python -m benchmarks.average_weights driqa $first/mean.safetensors corpus=runs/corpus-wide $first/best.ckpt $first/last.ckpt
drmetric train $recipes/driqa-mobilenetv2-8.toml --resume
python -m benchmarks.average_weights driqa $second/mean.safetensors corpus=runs/corpus-wide \
    $second/driqa-mobilenetv2-8.safetensors $first/best.safetensors $first/last.safetensors

drmetric corpus $recipes/corpus-restorers.toml --output runs/corpus-restorers --workers "$workers"
python -m benchmarks.driqa_checks srij "${DRMETRIC_SRIJ:-../shared/data/human/srij}" --weights $second/mean.safetensors
python -m benchmarks.driqa_checks sanity runs/corpus-restorers --weights $second/mean.safetensors
python -m benchmarks.driqa_checks twins runs/corpus-restorers --weights $second/mean.safetensors
drmetric bench metrics benchmarks/leaderboards/driqa-restorers.toml    # of the shipped weights, beside others
