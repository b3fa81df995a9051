#!/usr/bin/env bash
# What needs a GPU, in under ten minutes: the tests that are skipped without one, and times and memory of the metrics.
#   benchmarks/gpu.sh [FOLDER]      # of the results, by default runs/gpu
# An installed PyTorch with CUDA and the package's dependencies are enough; nothing is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=.
results=${1:-runs/gpu}

python -m pytest -q -p no:cacheprovider -k "cuda or gpu or devices_agree" tests/metrics tests/distortions/test_redistort.py
python -m benchmarks.speed --device cuda --repeats 30 --memory --sizes 256,512,1080p,4k \
    --metrics driqa,driqa:driqa-patches-3,nriqa,nriqa_akd,nariqa,ssim,psnr --output "$results/speed.csv"
