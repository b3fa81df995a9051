#!/usr/bin/env bash
# Which metric agrees with people: every board of images that people rated, one after the other.
#   benchmarks/boards.sh [FOLDER]      # of the results, by default runs/boards
# A set that is not here is named and left out; what was interrupted goes on where it stopped. docs/data.md says where the sets come
# from, docs/uses.md what came out.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=.
results=${1:-runs/boards} left_out=() incomplete=()

board() { # NAME VARIABLE...: the board of that name, where all its variables are set
    local name=$1 variable
    for variable in "${@:2}"; do
        [ -n "${!variable:-}" ] || { left_out+=("$name ($variable is not set)"); return; }
    done
    echo "== $name"
    if [ "$name" = distortions ]; then
        drmetric conditions benchmarks/recipes/corpora/conditions-test.toml --output runs/conditions-test || { incomplete+=("$name"); return; }
    fi
    drmetric bench metrics "benchmarks/leaderboards/$name.toml" --output "$results/$name" || incomplete+=("$name")
}

board srij DRMETRIC_SRIJ                                                # super-resolution
board sriqa-bench DRMETRIC_SRIQA_BENCH
board distortions DRMETRIC_DATA DRMETRIC_LABELS DRMETRIC_RESTORERS      # denoising, compression and 23 others
board nriqa-biq2021 DRMETRIC_BIQ2021                                    # photographs
board nriqa-live-itw DRMETRIC_LIVE_ITW
board agiqa3k DRMETRIC_AGIQA3K                                          # generated images

for each in "${left_out[@]:-}"; do [ -z "$each" ] || echo "left out: $each" >&2; done
for each in "${incomplete[@]:-}"; do [ -z "$each" ] || echo "incomplete, see above: $each" >&2; done
[ ${#incomplete[@]} -eq 0 ]
