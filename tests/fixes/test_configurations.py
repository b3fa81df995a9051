"""Lines of configurations: pasted where the error says, and the file is read as it was meant."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drmetric.bench.agreement.config import Config as RatedBoard
from drmetric.bench.methods.board import judges_of
from drmetric.bench.methods.config import Config as Board
from drmetric.checkpoints import find_weights
from drmetric.data.make.conditions import ConditionsConfig
from drmetric.data.make.corpus import CorpusConfig
from drmetric.data.make.labels import Fusion
from drmetric.data.make.photographs import list_contents, refuse_small
from drmetric.distill.recipe import Recipe
from tests.cli.commands import write_image
from tests.fixes import MOST_STEPS, bare, covers, filled, named, pasted, places_of

BOARD = """[data]
degraded = "degraded"
truth = "truth"
[[methods]]
name = "A"
folder = "a"
[[metrics]]
name = "psnr"
"""
RATED = """[data]
set = "corpus"
root = "corpus"
[[metrics]]
name = "ssim"
"""
CORPUS = """crop = 32
[[sources]]
name = "photos"
folder = "photos"
split = "train"
"""
CONDITIONS = 'opinions = "opinions.csv"\ndenoiser = "math:sqrt"\n' + CORPUS
DRIQA = """metric = "driqa"
[data]
kind = "corpus"
root = "corpus"
[train]
steps = 2
[network]
"""
AKD = """metric = "nriqa-akd"
[[data]]
kind = "biq2021"
root = "biq2021"
validate = true
[train]
steps = 2
[network]
backbone = "mobilenetv2"
"""
MOBILE = AKD.replace("nriqa-akd", "nriqa-mobile")
PLAY = DRIQA.replace("[network]", "[self_play]")
FUSION = '{"terms": {"lpips": {"weight": 1.0, "power": 0.5}}, "elo_per_point": 250}'
COMPOSITE = '[[composites]]\nname = "sum"\nterms = [{ metric = "psnr" }]\n'


def contents_of(path: Path) -> object:
    config = CorpusConfig.read(path)
    contents = list_contents(config.sources, config.seed, config.validation_share)
    refuse_small(contents, config.crop)
    return contents


READ: dict[str, Callable[[Path], object]] = {
    "board": Board.read,
    "judges": lambda path: judges_of(Board.read(path)),
    "rated": RatedBoard.read,
    "corpus": CorpusConfig.read,
    "contents": contents_of,
    "conditions": ConditionsConfig.read,
    "recipe": Recipe.read,
    "fusion": Fusion.read,
}


@dataclass(frozen=True)
class Case:
    """A file of a kind in which `right` was replaced by `wrong`, and where the fix goes: by default there."""

    site: str
    kind: str
    text: str
    right: str
    wrong: str
    at: str = ""
    filling: dict[str, Any] = field(default_factory=dict)


WEIGHTS = {"FILE.safetensors": find_weights("driqa", "default").path}
CASES = [
    Case("bench/agreement/config.py: choose('set'", "rated", RATED, '"corpus"', '"corpse"', 'set = "corpse"'),
    Case(
        "bench/agreement/config.py: 'unshared",
        "rated",
        RATED,
        'set = "corpus"',
        'set = "bapps"\nunshared = true',
        "unshared = true",
    ),
    Case(
        'bench/composites.py: \'name = "perceptual"',
        "board",
        BOARD + COMPOSITE,
        COMPOSITE,
        "[[composites]]\nname = 3",
        "name = 3",
    ),
    Case('bench/composites.py: \'name = "..."', "judges", BOARD + COMPOSITE, 'name = "sum"', 'name = "psnr"'),
    Case(
        'bench/composites.py: f"metric',
        "judges",
        BOARD + COMPOSITE,
        '{ metric = "psnr" }',
        '{ metric = "gone" }',
        'metric = "gone"',
    ),
    Case(
        "bench/composites.py: 'metric = \"nriqa\"'",
        "judges",
        BOARD + '[[metrics]]\nname = "nriqa"\n[[metrics]]\nname = "driqa"\n' + COMPOSITE,
        '{ metric = "psnr" }',
        '{ metric = "driqa" }',
        'metric = "driqa"',
    ),
    Case(
        "bench/judges.py: f'reference",
        "judges",
        BOARD,
        'name = "psnr"',
        'name = "nriqa"\nreference = "truth"',
        'reference = "truth"',
    ),
    Case(
        "bench/judges.py: 'options",
        "judges",
        BOARD,
        'name = "psnr"',
        'name = "driqa"\noptions = "x"',
        'options = "x"',
        WEIGHTS,
    ),
    Case(
        "bench/judges.py: 'label",
        "judges",
        BOARD,
        'name = "psnr"',
        'name = "psnr"\n[[metrics]]\nname = "psnr"\noptions = { channel = "y" }\nlabel = "psnr"',
        'label = "psnr"',
    ),
    Case(
        "bench/methods/board.py: config.usable_metric",
        "judges",
        BOARD.replace('truth = "truth"\n', ""),
        '[[metrics]]\nname = "psnr"\n',
        '[[metrics]]\nname = "psnr"\n# here\n',
        "# here",
    ),
    Case("bench/methods/config.py: f'preset", "board", BOARD, "[data]", 'preset = "gone"\n[data]', 'preset = "gone"'),
    Case(
        'bench/methods/config.py: \'name = "..."  # another',
        "board",
        BOARD,
        'name = "A"',
        'name = "B"\nfolder = "b"\n[[methods]]\nname = "B"',
        'name = "B"',
    ),
    Case(
        "bench/methods/config.py: 'degraded",
        "board",
        BOARD,
        'degraded = "degraded"\n',
        "scale = 4\n# here\n",
        "# here",
        {"FOLDER": "degraded"},
    ),
    Case("bench/methods/config.py: 'scale", "board", BOARD, 'truth = "truth"', "scale = 0.5"),
    Case("bench/methods/config.py: 'name = \"...\"'", "board", BOARD, 'name = "A"', 'name = " "'),
    Case("config.py: fix", "board", BOARD, 'degraded = "degraded"', "degraded = 3"),
    Case(
        "config.py: fix",
        "recipe",
        DRIQA,
        "steps = 2",
        'steps = 2\nwarmup_steps = "x"',
        'warmup_steps = "x"',
    ),
    Case(
        "config.py: fix",
        "recipe",
        DRIQA,
        "steps = 2",
        'steps = 2\noptimiser = "adam"',
        'optimiser = "adam"',
    ),
    Case(
        "config.py: fix",
        "recipe",
        DRIQA,
        "[network]",
        '[network]\nhidden = "16"',
        'hidden = "16"',
    ),
    Case("config.py: f'{name} = {_example(hints[name])}'", "rated", RATED, 'root = "corpus"\n', "", "[data]"),
    Case("config.py: f'[[{name}]]'", "board", BOARD, "[[metrics]]", "[metrics]"),
    Case("config.py: f'[[{name}]]'", "board", BOARD, '[[methods]]\nname = "A"\nfolder = "a"\n', "# here\n", "# here"),
    Case(
        'config.py: f"[{where',
        "board",
        BOARD,
        '[data]\ndegraded = "degraded"\ntruth = "truth"\n',
        "data = 3\n",
        "data = 3",
    ),
    Case('config.py: \'"data/degraded"', "board", BOARD, '"degraded"', '" "'),
    Case('config.py: \'"~/data"', "board", BOARD, '"degraded"', '"~nobody-of-that-name/data"'),
    Case("config.py: f'{name} = {as_toml(usual)}'", "corpus", CORPUS, "crop = 32", "crop = 3"),
    Case(
        "config.py: f'{name} = {as_toml(usual)}'",
        "recipe",
        DRIQA,
        "[network]",
        "[network]\nhidden = [0]",
        "hidden = [0]",
    ),
    Case("config.py: fix", "recipe", DRIQA, "[network]", '[network]\nhidden = ["a"]', 'hidden = ["a"]'),
    Case(
        "config.py: f'{setting}",
        "corpus",
        CORPUS,
        "crop = 32",
        'networks = "gone:gone"',
        filling={"module:function": "math:sqrt"},
    ),
    Case("data/make/conditions.py: 'feature", "conditions", CONDITIONS, "crop = 32", 'feature = "gone"'),
    Case('distortions/degrade.py: f"{next', "corpus", CORPUS + "[families]\njpeg = 1.0\n", "jpeg = 1.0", "jpeg = 0.0"),
    Case('distortions/degrade.py: f"jpeg', "corpus", CORPUS + "[families]\njpeg = 1.0\n", "jpeg = 1.0", "gone = 1.0"),
    Case("data/make/labels.py: '{\"terms", "fusion", FUSION, FUSION, '{"terms": 3}'),
    Case('data/make/labels.py: \'"lpips"', "fusion", FUSION, '"lpips"', '"gone"'),
    Case("data/make/photographs.py: f'crop", "contents", CORPUS, "crop = 32", "crop = 320"),
    Case(
        "data/make/photographs.py: f'shrink_to",
        "contents",
        CORPUS,
        'split = "train"',
        'split = "train"\nshrink_to = 10',
        "shrink_to = 10",
    ),
    Case(
        "data/make/photographs.py: f'name = \"{twins",
        "corpus",
        CORPUS,
        "[[sources]]",
        '[[sources]]\nname = "photos"\nfolder = "other"\nsplit = "test"\n[[sources]]',
        'name = "photos"',
    ),
    Case(
        'data/make/photographs.py: \'name = "photos"',
        "corpus",
        CORPUS,
        '"photos"\nf',
        '"../photos"\nf',
        'name = "../photos"',
    ),
    Case(
        "data/make/photographs.py: 'pattern",
        "corpus",
        CORPUS,
        'split = "train"',
        'split = "train"\npattern = "../*"',
        'pattern = "../*"',
    ),
    Case(
        "data/make/photographs.py: f'exclude = [",
        "contents",
        CORPUS,
        'folder = "photos"',
        'folder = "twins"',
        "[[sources]]",
    ),
    Case(
        "data/make/photographs.py: f'exclude = {as_toml",
        "contents",
        CORPUS,
        'split = "train"',
        'split = "train"\nexclude = ["0000.png"]',
        'exclude = ["0000.png"]',
    ),
    Case(
        "data/make/photographs.py: f'folder",
        "contents",
        CORPUS,
        'folder = "photos"',
        'folder = "gone"',
        filling={"FOLDER": "photos"},
    ),
    Case(
        "distill/recipe.py: f'[[data]]",
        "recipe",
        AKD,
        '[[data]]\nkind = "biq2021"\nroot = "biq2021"\nvalidate = true\n',
        "# here\n",
        "# here",
    ),
    Case("distill/recipe.py: choose('metric'", "recipe", DRIQA, '"driqa"', '"driqq"', 'metric = "driqq"'),
    Case(
        "distill/recipe.py: 'weight_norm",
        "recipe",
        DRIQA,
        "steps = 2",
        "steps = 2\nbatch_norm = true\nweight_norm = true",
        "weight_norm = true",
    ),
    Case(
        "distill/recipe.py: 'grey_share",
        "recipe",
        AKD + "frozen_backbone = true\n",
        "steps = 2",
        'steps = 2\nfeatures = "f"\ngrey_share = 0.5',
        "grey_share = 0.5",
    ),
    Case(
        "distill/recipe.py: f'batch",
        "recipe",
        AKD,
        "validate = true",
        "validate = true\nbatch = 6\ngroup = 4",
        "batch = 6\ngroup = 4",
    ),
    Case(
        "distill/recipe.py: f'batch",
        "recipe",
        AKD,
        "validate = true",
        "validate = true\nwithin = 0.5\nbatch = 7\ngroup = 2",
        "batch = 7\ngroup = 2",
    ),
    Case(
        "distill/recipe.py: 'group",
        "recipe",
        AKD,
        "validate = true",
        "validate = true\ngroup = 1\nwithin = 0.5",
        "group = 1",
    ),
    Case(
        "distill/recipe.py: 'mixup",
        "recipe",
        AKD.replace("validate = true", "validate = true\nbatch = 8\ngroup = 4"),
        "steps = 2",
        "steps = 2\nmixup = 0.2",
        "mixup = 0.2",
    ),
    Case("distill/recipe.py: 'validate", "recipe", AKD, "validate = true", "validate = false"),
    Case("distill/recipe.py: 'frozen_backbone", "recipe", AKD, "steps = 2", 'steps = 2\nfeatures = "f"', "[network]"),
    Case(
        "distill/augment.py: 'attack_psnr",
        "recipe",
        MOBILE,
        "steps = 2",
        "steps = 2\nattack_psnr = [44.0, 34.0]",
        "attack_psnr = [44.0, 34.0]",
    ),
    Case("distill/game.py: 'weights", "recipe", PLAY, "[self_play]", "[self_play]\nweights = []", "weights = []"),
    Case("distill/game.py: 'patch", "recipe", PLAY, "[self_play]", "[self_play]\npatch = 100", "patch = 100"),
    Case(
        "distill/self_play.py: 'judge_maps",
        "recipe",
        DRIQA,
        "[network]",
        "[self_play]\njudge_maps = 1.0\n\n[network]",
        "judge_maps = 1.0",
    ),
    Case(
        "networks/akdiqa.py: f'heads",
        "recipe",
        AKD,
        "[network]",
        "[network]\nheads = 12",
        "heads = 12",
    ),
    Case("networks/levels.py: 'taps", "recipe", AKD, "[network]", "[network]\ntaps = []", "taps = []"),
    Case(
        "networks/ckdn.py: f'head_stages",
        "recipe",
        DRIQA,
        "[network]",
        "[network]\nembedding_stages = 3\nhead_stages = 4",
        "head_stages = 4",
    ),
    Case(
        "networks/ckdn.py: 'calibration",
        "recipe",
        DRIQA,
        "[network]",
        "[network]\ncalibration = [0.0, 1.0]",
        "calibration = [0.0, 1.0]",
    ),
]


covers(*(case.site for case in CASES))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with what the configurations name."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photos/one.png", 0, 48)
    for name in ("k.png", "k.bmp"):
        write_image(tmp_path / "twins" / name, 0, 48)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.site} {case.wrong}")
def test_the_lines_mend_the_file(case: Case, folder: Path) -> None:
    path = folder / "file.toml"
    assert case.right in case.text
    text = case.text.replace(case.right, case.wrong, 1)
    at, places = case.at or case.wrong, []
    for _ in range(MOST_STEPS):
        path.write_text(text)
        made, error = places_of(lambda: READ[case.kind](path))
        places += made
        if error is None:
            break
        fix = filled(bare(error.fix), case.filling)
        text = pasted(text, fix, at)
        at = fix.split("\n")[0] if fix.startswith("[") else at
    assert error is None
    assert named(case.site, places), f"another error: {places}"
    assert text != case.text.replace(case.right, case.wrong, 1)
