"""Full-reference features on human-rated images, and the fusion of them that labels a corpus.

    python -m benchmarks.label_fusion measure --photographs DIR --human runs/human --output runs/fusion
    python -m benchmarks.label_fusion fit --output runs/fusion      # writes drmetric/data/make/fusion.json, prints SRCC
    python -m benchmarks.label_fusion try vif=3 --output runs/fusion    # one more term, or another power
    python -m benchmarks.label_fusion ceiling --output runs/fusion  # what any fusion could reach on SRIJ

`measure` makes KADID-10k's 25 types x 5 levels again on your own photographs (no KADID image is needed; the
label of a condition is its mean opinion over KADID's 81 contents) and measures TID2013's reference I01 and the
development scenes of SRIJ as they are. `fit` fits on the re-made conditions alone, a fold of contents left out at
a time, and prints how the fusion does there and on the two sets it has not seen. `ceiling` fits to SRIJ's own
opinions, leaving a family of scenes out at a time: an upper bound, which nothing shipped is fitted to.
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy import optimize
from torch import Tensor

from benchmarks.restorers import RESTORERS, load, names
from drmetric.data.make.building import write_records
from drmetric.data.make.labels import Fusion, Term, distance, higher_is_better
from drmetric.data.make.labels import measure as feature_of
from drmetric.distortions.degrade import degrade
from drmetric.distortions.kadid.types import distort, stretched
from drmetric.images import read_image, resize, rounded_to_8_bit
from drmetric.statistics import bootstrap_by_content, srcc

FEATURES = ("lpips", "vif", "haarpsi", "mdsi", "gmsd", "ms_ssim", "psnr", "sharpening", "softening")
POWERS = {"lpips": 1.0, "mdsi": 1.0, "sharpening": 3.0, "softening": 1.0}
"""The features of the fusion and the powers of their distances; docs/research/driqa.md says why no more of them."""

FAMILY_SHARE = 1.0
FAMILIES = {
    "traditional": ("bicubic",),
    "psnr": tuple(n for n in names("super_resolution", 4) if RESTORERS[n].training == "psnr" and n != "dncnn3_sr"),
    "gan": ("pcarn_m_x234", "fast_srgan_x4", "srgan_lt_x4", "lsdir_compact_c3_x4"),
}
"""Our x4 outputs that stand for PIPAL's families; Real-ESRGAN's models, made for noisy photographs, stand for none."""

NOT_RESTORED = {
    "color_block", "color_diffusion", "color_quantization", "color_saturation_hsv", "color_saturation_lab",
    "color_shift", "brighten", "darken", "mean_shift", "contrast_change", "non_eccentricity_patch", "quantization",
    "jitter",
}  # fmt: skip
"""KADID types that restorers neither get nor make."""

FOLDS = 5


def _measured(images: Tensor, reference: Tensor, names: Sequence[str]) -> list[dict[str, float]]:
    """The named features of (N,3,H,W) images against one reference."""
    return [{name: round(float(feature_of(name, image[None], reference)[0]), 6) for name in names} for image in images]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _kadid_content(
    photograph: Path, labels: Path, side: int, seed: int, features: Sequence[str]
) -> list[dict[str, Any]]:
    """All conditions on the central crop of one photograph."""
    torch.set_num_threads(1)
    denoiser = load("dncnn_gray_s25")
    whole = read_image(photograph, alpha="white")[None]
    top, left = (whole.shape[-2] - side) // 2, (whole.shape[-1] - side) // 2
    image = stretched(whole[..., top : top + side, left : left + side])
    conditions = _rows(labels)
    distorted = torch.cat(
        [
            distort(
                image,
                int(c["type_id"]),
                int(c["level"]),
                seed,
                denoiser=lambda noisy: denoiser.network(noisy).clamp(0, 1),
            )
            for c in conditions
        ]
    )
    return [
        {
            "set": "kadid10k",
            "content": photograph.stem,
            "condition": f"{c['type']}-{c['level']}",
            "score": float(c["mean"]),
            "rating_std": float(c["mean_rating_std"]),
            **measured,
        }
        for c, measured in zip(conditions, _measured(distorted, image, features), strict=True)
    ]


def _family_content(photograph: Path, side: int, features: Sequence[str]) -> list[dict[str, Any]]:
    """The x4 restorations of one photograph's centre by every member of `FAMILIES`."""
    torch.set_num_threads(1)
    whole = read_image(photograph, alpha="white")[None]
    top, left = (whole.shape[-2] - side) // 2, (whole.shape[-1] - side) // 2
    image = whole[..., top : top + side, left : left + side]
    low = rounded_to_8_bit(degrade(image, [{"op": "downscale", "scale": 4}], 0))
    members = [name for family in FAMILIES.values() for name in family]
    restored = torch.cat([resize(low, (side, side)) if name == "bicubic" else load(name)(low, 4) for name in members])
    restored = rounded_to_8_bit(restored)
    return [
        {"set": "families", "content": photograph.stem, "condition": name, **measured}
        for name, measured in zip(members, _measured(restored, image, features), strict=True)
    ]


def _rated_images(human: Path, features: Sequence[str]) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    rows = []
    for root, entry in _rated(human):
        image, reference = (read_image(root / entry.pop(key)).expand(3, -1, -1)[None] for key in ("image", "reference"))
        rows.append({**entry, "score": float(entry["score"]), **_measured(image, reference, features)[0]})
    return rows


def _rated(human: Path) -> Iterable[tuple[Path, dict[str, str]]]:
    for row in _rows(human / "tid2013" / "labels.csv"):
        yield (
            human / "tid2013",
            {
                "set": "tid2013-i01",
                "content": row["ref"],
                "condition": f"{row['dist_name']}-{row['level']}",
                "score": row["mos"],
                "image": row["img_path"],
                "reference": row["ref_path"],
            },
        )
    for row in _rows(human / "srij" / "labels.csv"):
        if row["method"] != "HD":
            yield (
                human / "srij",
                {
                    "set": "srij",
                    "content": row["scene"],
                    "condition": f"{row['method']}-x{row['scale']}",
                    "score": row["score"],
                    "image": row["sr_path"],
                    "reference": row["gt_path"],
                },
            )


def measure(photographs: Path, human: Path, output: Path, count: int, side: int, workers: int) -> None:
    """Write one JSONL file a photograph and one for each rated set; features that exist are kept."""
    files = [p for p in sorted(photographs.glob("*.png")) if min(read_image(p, alpha="white").shape[-2:]) >= side]
    chosen = files[:: max(1, len(files) // count)][:count]
    labels = human / "labels" / "kadid10k_by_type_level.csv"
    todo: dict[Path, Callable[[Sequence[str]], list[dict[str, Any]]]] = {
        output / "rated.jsonl": partial(_rated_images, human / "human"),
        **{output / "families" / f"{p.stem}.jsonl": partial(_family_content, p, side) for p in chosen},
        **{
            output / "kadid10k" / f"{p.stem}.jsonl": partial(_kadid_content, p, labels, side, seed)
            for seed, p in enumerate(chosen)
        },
    }
    with ProcessPoolExecutor(workers) as pool:
        jobs = {}
        for path, rows_of in todo.items():
            known = _read([path]) if path.exists() else []
            missing = [name for name in FEATURES if not known or any(name not in row for row in known)]
            if missing:
                jobs[pool.submit(rows_of, missing)] = path, known
        for job in as_completed(jobs):
            path, known = jobs[job]
            rows = job.result()
            write_records(path, [old | new for old, new in zip(known or [{}] * len(rows), rows, strict=True)])


def _read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(paths) for line in path.read_text().splitlines()]


def _family_elo(table: Path) -> dict[str, float]:
    """Mean Elo of PIPAL's x4 variants by family; docs/research/driqa.md says which are x4."""
    x4 = {"0": (1, 4, 7, 10), "1": (2, 5, 8, 11, 14), "3": tuple(range(20))}
    names = {"0": "traditional", "1": "psnr", "3": "gan"}
    elo: dict[str, list[float]] = {}
    for row in _rows(table):
        if int(row["variant"]) in x4.get(row["category"], ()):
            elo.setdefault(names[row["category"]], []).append(float(row["mean_elo"]))
    return {name: float(np.mean(values)) for name, values in elo.items()}


def _distances(rows: Sequence[dict[str, Any]], features: Sequence[str]) -> np.ndarray:
    columns = [distance(name, torch.tensor([row[name] for row in rows])).numpy() for name in features]
    return np.stack(columns, axis=1).astype(float)


def fit_fusion(
    kadid: list[dict[str, Any]], families: list[dict[str, Any]], elo: dict[str, float], powers: dict[str, float]
) -> Fusion:
    """Weights of features with given powers by least squares on opinions and one difference between PIPAL's families.

    The difference, adversarial less PSNR-trained super-resolvers (mean over contents, at x4), is the one that
    full-reference metrics get wrong; it counts `FAMILY_SHARE` times what all opinions together count. That
    traditional methods come last is left to the check.
    """
    opinions = np.array([row["score"] for row in kadid])
    elo_per_point = 1000 / _points_per_1000_elo(kadid)
    exponents = np.array(list(powers.values()))
    bases = _distances(kadid, list(powers)) ** exponents
    means = {
        family: _distances([row for row in families if row["condition"] in members], list(powers)) ** exponents
        for family, members in FAMILIES.items()
    }

    def opinion(weights: np.ndarray, base: np.ndarray) -> np.ndarray:
        return np.asarray(1 + 4 * np.exp(-base @ weights))

    def residuals(weights: np.ndarray) -> np.ndarray:
        mean = {family: opinion(weights, base).mean() for family, base in means.items()}
        wrong = mean["gan"] - mean["psnr"] - (elo["gan"] - elo["psnr"]) / elo_per_point
        factor = (FAMILY_SHARE * len(opinions)) ** 0.5
        return np.append(opinion(weights, bases) - opinions, factor * wrong)

    fitted = optimize.least_squares(residuals, np.ones(len(exponents)), bounds=(0, np.inf)).x
    terms = {
        name: Term(round(float(weight), 4), power) for (name, power), weight in zip(powers.items(), fitted, strict=True)
    }
    return Fusion(terms, round(float(elo_per_point), 1))


def _points_per_1000_elo(kadid: list[dict[str, Any]]) -> float:
    """Points of opinion after which the better of two images wins as often as 1000 Elo points say.

    One rating has the standard deviation s, so a difference d is seen right with the probability
    Phi(d / (s sqrt 2)), which is close to the logistic function of 1.702 d / (s sqrt 2).
    """
    spread = float(np.sqrt(np.mean([row["rating_std"] ** 2 for row in kadid])))
    return 1000 * np.log(10) / 400 * spread * 2**0.5 / 1.702


def fit(human: Path, output: Path, more: dict[str, float]) -> None:
    """Fit and print how the fusion does where it was not fitted; without `more` terms write it as the bundled one."""
    powers = POWERS | more
    restorable = [r for r in _read((output / "kadid10k").glob("*.jsonl")) if _type(r) not in NOT_RESTORED]
    families = _read((output / "families").glob("*.jsonl"))
    elo = _family_elo(human / "labels" / "pipal_by_category_variant.csv")
    contents = sorted({row["content"] for row in restorable})
    held_out: dict[int, float] = {}
    for fold in range(FOLDS):
        outside = set(contents[fold::FOLDS])
        fusion = fit_fusion([r for r in restorable if r["content"] not in outside], families, elo, powers)
        held_out |= {i: fusion.opinion(r) for i, r in enumerate(restorable) if r["content"] in outside}
    fusion = fit_fusion(restorable, families, elo, powers)
    print(fusion)
    if not more:
        path = Path(__file__).resolve().parent.parent / "drmetric" / "data" / "make" / "fusion.json"
        path.write_text(json.dumps(asdict(fusion), indent=1) + "\n")
    rated = _read([output / "rated.jsonl"])
    srij = [r for r in rated if r["set"] == "srij"]
    _print_agreement(restorable, [held_out[i] for i in range(len(restorable))], srij, rated, fusion)
    _print_families(families, fusion, elo)
    _print_sharpened(restorable, fusion)


def _type(row: dict[str, Any]) -> str:
    return str(row["condition"]).rsplit("-", 1)[0]


def _pooled(rows: list[dict[str, Any]], scores: Sequence[float], by: str) -> str:
    """SRCC over all rows, its interval from a bootstrap over the groups that `by` names."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for row, score in zip(rows, scores, strict=True):
        groups.setdefault(row[by], []).append((score, row["score"]))

    def pooled(drawn: list[list[tuple[float, float]]]) -> float:
        return srcc(*zip(*(pair for group in drawn for pair in group), strict=True))

    contents = [groups[name] for name in sorted(groups)]
    low, high = bootstrap_by_content(contents, pooled)
    return f"{pooled(contents):.3f} [{low:.3f}, {high:.3f}]"


def _groups(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """The numbers of the rows of each scene and scale."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row["content"], row["condition"][-2:]), []).append(index)
    return groups


def _within(rows: list[dict[str, Any]], scores: Sequence[float]) -> str:
    """Mean over scenes of the mean SRCC within a scale."""
    by_scene: dict[str, list[float]] = {}
    for (scene, _), part in _groups(rows).items():
        agreement = srcc([scores[i] for i in part], [rows[i]["score"] for i in part])
        by_scene.setdefault(scene, []).append(agreement)
    per_scene = [fmean(by_scene[scene]) for scene in sorted(by_scene)]
    low, high = bootstrap_by_content(per_scene, fmean, n=5000)
    return f"{fmean(per_scene):.3f} [{low:.3f}, {high:.3f}]"


def _print_agreement(
    kadid: list[dict[str, Any]],
    held_out: list[float],
    srij: list[dict[str, Any]],
    rated: list[dict[str, Any]],
    fusion: Fusion,
) -> None:
    tid = [row for row in rated if row["set"] == "tid2013-i01"]
    contents = len({row["content"] for row in kadid})
    table = Table(
        "",
        f"KADID-10k re-made, {contents} contents, {len(kadid)} images",
        f"TID2013 I01, {len(tid)} images (over conditions)",
        f"SRIJ within scene and scale, {len({r['content'] for r in srij})} scenes, {len(srij)} images",
        title="SRCC [95 %]",
    )
    columns: dict[str, list[list[float]]] = {
        "fusion (KADID: contents held out)": [held_out, *([fusion.opinion(r) for r in rows] for rows in (tid, srij))]
    }
    for name in FEATURES:
        sign = 1 if higher_is_better(name) else -1
        columns[name] = [[sign * row[name] for row in rows] for rows in (kadid, tid, srij)]
    for name, (first, second, third) in columns.items():
        table.add_row(name, _pooled(kadid, first, "content"), _pooled(tid, second, "condition"), _within(srij, third))
    Console(width=150).print(table)


def _print_sharpened(kadid: list[dict[str, Any]], fusion: Fusion) -> None:
    """Mean opinions of KADID's over-sharpened conditions: people's, and the fusion's with and without its term."""
    terms = {name: term for name, term in fusion.terms.items() if name != "sharpening"}
    predictors = {"fusion": fusion.opinion, "without sharpening": Fusion(terms, fusion.elo_per_point).opinion}
    table = Table("high_sharpen", "people", *predictors, title="mean opinion, 1 to 5")
    for condition in sorted({row["condition"] for row in kadid if _type(row) == "high_sharpen"}):
        rows = [row for row in kadid if row["condition"] == condition]
        people = fmean(row["score"] for row in rows)
        table.add_row(condition, *(f"{v:.2f}" for v in (people, *(fmean(map(p, rows)) for p in predictors.values()))))
    Console(width=100).print(table)


def _print_families(families: list[dict[str, Any]], fusion: Fusion, elo: dict[str, float]) -> None:
    contents = sorted({row["content"] for row in families})
    header = ("family at x4", "PIPAL, mean Elo", "label x 1000, mean", *(f"{name}, mean" for name in FEATURES))
    table = Table(*header, title=f"{len(contents)} contents")
    for family, members in FAMILIES.items():
        rows = [row for row in families if row["condition"] in members]
        means = [f"{fmean(row[name] for row in rows):.3f}" for name in FEATURES]
        table.add_row(family, f"{elo[family]:.0f}", f"{1000 * fmean(map(fusion.label, rows)):.0f}", *means)
    Console(width=150).print(table)


def _centred(values: np.ndarray, rows: list[dict[str, Any]]) -> np.ndarray:
    """Values less their mean within scene and scale."""
    centred = values.astype(float)
    for group in _groups(rows).values():
        centred[group] -= centred[group].mean(0)
    return centred


def _left_out(columns: np.ndarray, rows: list[dict[str, Any]], penalty: float = 10.0) -> list[float]:
    """Ridge regression of opinions on columns, both centred within scene and scale, each family of scenes left out."""
    columns = columns / columns.std(0).clip(1e-9)
    inputs, targets = _centred(columns, rows), _centred(np.array([row["score"] for row in rows]), rows)
    family = np.array([row["content"].rstrip("0123456789") for row in rows])
    predicted = np.zeros(len(rows))
    for name in np.unique(family):
        kept = family != name
        x, y = inputs[kept], targets[kept]
        predicted[~kept] = columns[~kept] @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    return predicted.tolist()


def ceiling(output: Path) -> None:
    """Print what fusions fitted to SRIJ itself reach within scene and scale on scenes of other families."""
    rows = [row for row in _read([output / "rated.jsonl"]) if row["set"] == "srij"]
    fusions = {
        "all features": FEATURES,
        "LPIPS, MDSI and VIF": ("lpips", "mdsi", "vif"),
        "VIF and LPIPS": ("vif", "lpips"),
    }
    conditions = sorted({row["condition"] for row in rows})
    methods = np.array([[float(row["condition"] == condition) for condition in conditions] for row in rows])
    table = Table("fitted to SRIJ, a family of scenes left out", "SRCC within scene and scale [95 % over scenes]")
    for name, features in fusions.items():
        table.add_row(f"{name}, with the ground truth", _within(rows, _left_out(_distances(rows, features), rows)))
    table.add_row("the name of the method, no image", _within(rows, _left_out(methods, rows, 1.0)))
    Console(width=120).print(table)


def main() -> None:
    """Measure, fit or bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["measure", "fit", "try", "ceiling"])
    parser.add_argument("terms", nargs="*", metavar="FEATURE=POWER", help="more terms, or other powers, to try")
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--human", type=Path, default=Path("runs/human"), help="folder of labels/ and human/")
    parser.add_argument("--output", type=Path, default=Path("runs/fusion"))
    parser.add_argument("--contents", type=int, default=16)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if bool(options.terms) != (options.command == "try"):
        parser.error("terms belong to try: label_fusion try vif=3")
    if options.command in ("fit", "try"):
        more = dict(term.split("=") for term in options.terms)
        fit(options.human, options.output, {name: float(power) for name, power in more.items()})
    elif options.command == "ceiling":
        ceiling(options.output)
    elif options.photographs:
        measure(options.photographs, options.human, options.output, options.contents, options.side, options.workers)
    else:
        parser.error("measure needs --photographs")


if __name__ == "__main__":
    main()
