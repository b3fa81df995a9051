"""Full-reference features on human-rated images, and the fusion of them that labels a corpus.

    python -m benchmarks.label_fusion measure --photographs DIR --human runs/human --output runs/fusion
    python -m benchmarks.label_fusion fit --output runs/fusion  # tables, and drmetric/data/make/fusion.json
    python -m benchmarks.label_fusion try mdsi=2 blocking=0 --output runs/fusion  # one more term, and one less
    python -m benchmarks.label_fusion ceiling --output runs/fusion  # what any fusion could reach on SRIJ

`measure` makes KADID-10k's 25 types x 5 levels again on your own photographs (no KADID image is needed; the
label of a condition is its mean opinion over KADID's 81 contents), enlargements and x4 super-resolution of the same
photographs, and measures TID2013's reference I01 and the development scenes of SRIJ as they are. `fit` fits on the
re-made conditions alone, a fold of contents left out at a time, and prints how the fusion does there, type by type,
and on the sets it has not seen. `ceiling` fits to SRIJ's own opinions, leaving a family of scenes out at a time: an
upper bound, which nothing shipped is fitted to.
"""
