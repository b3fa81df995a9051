#!/usr/bin/env bash
# DRIQA's default weights from photographs, in one command: restorers, corpora, labels, training, figures on the test contents.
#   benchmarks/make_driqa.sh
# docs/data.md says what the variables below hold. The training continues driqa-mobilenetv2-8, which has to be in $DRMETRIC_HOME
# (benchmarks/recipes/README.md). Run again, it continues where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DRMETRIC_DATA:?the folder of photographs}" "${DRMETRIC_RESTORERS:?the published restorers}"
: "${DRMETRIC_BIQ2021:?the folder of BIQ2021}" "${DRMETRIC_LPIPS_BACKBONE:?the weights of SqueezeNet 1.1}"
: "${DRMETRIC_SRIJ:?the folder of SRIJ}" "${DRMETRIC_BACKBONES:?the folder of backbones}"
export DRMETRIC_SMALL_RESTORERS=${DRMETRIC_SMALL_RESTORERS:-runs/small} PYTHONPATH=.
recipes=benchmarks/recipes/corpora run=runs/driqa-mobilenetv2-10 workers=${WORKERS:-$(nproc)}

python -m benchmarks.restorers.small "$DRMETRIC_DATA/cid22-training" "$DRMETRIC_SMALL_RESTORERS"
python -m benchmarks.data.best_photographs "$DRMETRIC_BIQ2021" "$DRMETRIC_DATA/biq2021-best"
python -m benchmarks.data.best_photographs "$DRMETRIC_BIQ2021" "$DRMETRIC_DATA/biq2021-good" --least 0.75 --below 0.8
for corpus in corpus-wide corpus-more; do
    drmetric corpus $recipes/$corpus.toml --output runs/$corpus --workers "$workers" --fusion $recipes/lineage/before-blocking.json
done
drmetric train weights/driqa-mobilenetv2-10/recipe.toml --resume
# judges both states, and writes each as weights beside its checkpoint
python -m benchmarks.average_weights driqa $run/mean.safetensors corpus=runs/corpus-wide $run/best.ckpt $run/last.ckpt

drmetric corpus $recipes/corpus-restorers.toml --output runs/corpus-restorers --workers "$workers" --fusion $recipes/lineage/before-blocking.json
python -m benchmarks.checks.driqa srij "$DRMETRIC_SRIJ" --weights $run/mean.safetensors
python -m benchmarks.checks.driqa sanity runs/corpus-restorers --weights $run/mean.safetensors
python -m benchmarks.checks.driqa twins runs/corpus-restorers --weights $run/mean.safetensors
drmetric bench metrics benchmarks/leaderboards/driqa-restorers.toml    # of the shipped weights, beside others
