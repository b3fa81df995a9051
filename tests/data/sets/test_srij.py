"""SRIJ in miniature."""

from pathlib import Path

from drmetric.data.rated import read_triplets
from tests.data.sets.layouts import check, rated, touch, write_csv

LABELS = "labels.csv"
HEADINGS = ("scene", "method", "scale", "sr_path", "lr_path", "gt_path", "score", "score_std")


def write(root: Path) -> None:
    rows: list[tuple[object, ...]] = []
    for n, scene in enumerate(("dolls1", "globe1")):
        for scale in (2, 4):
            for place, method in enumerate(("bicubic", "SRCNN")):
                files = (f"sr/{method}-{scale}-{scene}.png", f"lr/x{scale}-{scene}.png", f"gt/x{scale}-{scene}.png")
                rows.append((scene, method, scale, *files, 80 - 10 * scale + 5 * place + n, 8.5))
                touch(root, files)
        rows.append((scene, "HD", 1, "", "", "", 85, 8.5))
    write_csv(root / LABELS, [HEADINGS, *rows])


def test_images_scores_and_contents_without_the_rated_ground_truth(tmp_path: Path) -> None:
    write(tmp_path)
    check(
        "srij",
        tmp_path,
        8,
        rated(
            "sr/SRCNN-4-globe1.png",
            0.46,
            "globe1",
            reference="gt/x4-globe1.png",
            degraded="lr/x4-globe1.png",
            spread=0.085,
            subset="x4",
        ),
    )


def test_triplets_are_grouped_by_scene_and_scale(tmp_path: Path) -> None:
    write(tmp_path)
    groups = [triplet.group for triplet in read_triplets("srij", tmp_path, "test")]
    assert len(set(groups)) == 4
    assert groups[0] == groups[1] == str(tmp_path / "lr/x2-dolls1.png")
