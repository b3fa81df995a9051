#!/usr/bin/env bash
# DRIQA's default weights from photographs, in one command: restorers, corpora, labels, self-play, calibration, figures.
#   benchmarks/make_driqa.sh
# docs/data.md says what the variables below hold. The training continues driqa-mobilenetv2-11 and learns from it and from
# driqa-mobilenetv2-10: both have to be in $DRMETRIC_HOME (benchmarks/recipes/README.md). Run again, it continues where it
# stopped. The first stage of the shipped weights was ended after 626 of its 1,500 steps.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${DRMETRIC_DATA:?the folder of photographs}" "${DRMETRIC_RESTORERS:?the published restorers}"
: "${DRMETRIC_LPIPS_BACKBONE:?the weights of SqueezeNet 1.1}" "${DRMETRIC_SRIJ:?the folder of SRIJ}"
export DRMETRIC_SMALL_RESTORERS=${DRMETRIC_SMALL_RESTORERS:-runs/small} PYTHONPATH=.
recipes=benchmarks/recipes name=driqa-mobilenetv2-12 workers=${WORKERS:-$(nproc)}

python -m benchmarks.restorers.small "$DRMETRIC_DATA/cid22-training" "$DRMETRIC_SMALL_RESTORERS"
for corpus in corpus-judge corpus-unfaithful; do
    drmetric corpus $recipes/corpora/$corpus.toml --output runs/$corpus --workers "$workers"
done
for judge in 10 11; do
    python -m benchmarks.calibrate label driqa-mobilenetv2-$judge runs/corpus-judge runs/judge-$judge.safetensors
done
drmetric train $recipes/lineage/$name-first.toml --resume
drmetric train weights/$name/recipe.toml --resume
python -m benchmarks.average_weights driqa runs/mean.safetensors corpus=runs/corpus-judge driqa-mobilenetv2-11 runs/$name/$name.safetensors
python -m benchmarks.calibrate pristine runs/mean.safetensors "$DRMETRIC_DATA/cid22-training" runs/$name.safetensors

python -m benchmarks.checks.driqa srij "$DRMETRIC_SRIJ" --weights runs/$name.safetensors
for check in twins sanity spread; do
    python -m benchmarks.checks.driqa $check runs/corpus-unfaithful --weights runs/$name.safetensors
done
drmetric bench metrics benchmarks/leaderboards/driqa-restorers.toml    # of the shipped weights, beside others
