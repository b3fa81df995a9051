"""Metric entries: one parser of TOML and of text, and one table that says which image a metric meets on every board."""

from pathlib import Path

import pytest
import torch

from drmetric.bench.agreement.config import Config as RatedConfig
from drmetric.bench.judges import REFERENCES, Entry, Judge, make_judges, make_witnesses
from drmetric.bench.methods.config import Config as MethodsConfig
from drmetric.errors import ConfigError, InputError, PairingError
from drmetric.metrics import registry
from drmetric.metrics.base import Metric
from drmetric.metrics.registry import create

METRICS = {"dr": "driqa", "fr": "psnr", "nar": "nariqa", "nr": "nriqa"}
"""One of each mode."""
BOARDS = {
    "photographs": set(),
    "distorted or paired images": {"truth"},
    "restorations, a corpus, methods with truth": {"degraded", "truth"},
    "methods without truth, the bundled images": {"degraded"},
}
"""What there is to meet on each kind of board."""
MEETS = {
    ("dr", "photographs"): None,
    ("dr", "distorted or paired images"): None,
    ("dr", "restorations, a corpus, methods with truth"): "degraded",
    ("dr", "methods without truth, the bundled images"): "degraded",
    ("fr", "photographs"): None,
    ("fr", "distorted or paired images"): "truth",
    ("fr", "restorations, a corpus, methods with truth"): "truth",
    ("fr", "methods without truth, the bundled images"): None,
    **{("nar", board): "none" for board in BOARDS},
    **{("nr", board): "none" for board in BOARDS},
}


class NoWeights(Metric):
    name, mode, signature = "no_weights", "nr", "no_weights"

    def __init__(self) -> None:
        create("niqe", weights="nowhere.safetensors")

    def _score(self, image: torch.Tensor, reference: torch.Tensor | None) -> torch.Tensor:
        return image.mean((1, 2, 3))


def from_toml(folder: Path, entry: str) -> list[Entry]:
    """The entry as a board on a rated set and as a board of methods read it."""
    rated, methods = folder / "rated.toml", folder / "methods.toml"
    rated.write_text(f'[data]\nset = "biq2021"\nroot = "set"\n[[metrics]]\n{entry}\n')
    methods.write_text(f'[data]\ndegraded = "lr"\n[[methods]]\nname = "a"\nfolder = "a"\n[[metrics]]\n{entry}\n')
    return [RatedConfig.read(rated).metrics[0], MethodsConfig.read(methods).metrics[0]]


@pytest.mark.parametrize(
    ("text", "toml", "entry"),
    [
        ("driqa", 'name = "driqa"', Entry("driqa")),
        (" psnr(channel=y, shave=4) ", 'name = "psnr"\noptions = { channel = "y", shave = 4 }', Entry(
            "psnr", options={"channel": "y", "shave": 4})),
        ("nriqa(trainable=False)", 'name = "nriqa"\noptions = { trainable = false }', Entry(
            "nriqa", options={"trainable": False})),
        ("psnr(reference=degraded, label=to the input)", 'name = "psnr"\nreference = "degraded"\n'
            'label = "to the input"', Entry("psnr", "to the input", "degraded")),
    ],
)  # fmt: skip
def test_text_and_both_kinds_of_configuration_say_the_same(tmp_path: Path, text: str, toml: str, entry: Entry) -> None:
    assert [Entry.parse(text), *from_toml(tmp_path, toml)] == [entry] * 3


def test_a_title_is_the_entry_as_text_without_folders() -> None:
    entry = Entry("lpips", options={"net": "squeeze", "backbone": "/home/me/squeezenet1_1.safetensors"})
    assert entry.title == "lpips(net=squeeze, backbone=squeezenet1_1.safetensors)"
    for text in ("driqa", "psnr(channel=y, shave=4)", "psnr(reference=degraded)", "driqa(reference=truth)"):
        assert Entry.parse(text).title == text
    assert Entry.parse("psnr(reference=truth)").title == "psnr"
    assert Entry.parse("psnr(label=PSNR)").title == "PSNR"


def test_options_name_files_beside_the_configuration_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.setenv("MINE", "mine")
    for weights in ("mine.safetensors", "$MINE.safetensors"):
        for entry in from_toml(tmp_path, f'name = "driqa"\noptions = {{ weights = "{weights}" }}'):
            assert entry.options == {"weights": str(tmp_path / "mine.safetensors")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("driqa(", "names no metric"),
        ("driqa(512)", "names no metric"),
        ("", "names no metric"),
        ("psnr(reference=clean)", "'clean'; wanted 'default' or 'degraded' or 'truth' or 'none'"),
    ],
)
def test_text_of_another_form_is_quoted(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Entry.parse(text)


@pytest.mark.parametrize(("mode", "board"), MEETS)
def test_each_mode_meets_one_image_on_each_kind_of_board(mode: str, board: str) -> None:
    entry, expected = Entry(METRICS[mode]), MEETS[mode, board]
    assert entry.mode == mode
    if expected is None:
        with pytest.raises(ConfigError, match="and there is none"):
            make_judges([entry], BOARDS[board])
    else:
        (judge,), _ = make_judges([entry], BOARDS[board])
        assert judge.reference == expected


def test_another_image_is_met_only_where_the_entry_or_the_board_asks_for_it() -> None:
    with pytest.raises(ConfigError) as caught:
        make_judges([Entry("psnr")], {"degraded"})
    assert caught.value.fix.startswith('reference = "degraded"  #')
    with pytest.raises(ConfigError) as caught:
        make_judges([Entry("driqa")], {"truth"})
    assert caught.value.fix.startswith('reference = "truth"  #')
    entries = [Entry("psnr"), Entry("driqa", reference="truth"), Entry("nriqa"), Entry("nariqa")]
    judges, _ = make_judges(entries, {"degraded", "truth"}, default="degraded")
    assert [judge.reference for judge in judges] == ["degraded", "truth", "none", "none"]


@pytest.mark.parametrize("mode", REFERENCES)
def test_what_a_mode_has_no_use_for_is_refused(mode: str) -> None:
    for reference in {"none", "degraded", "truth"} - set(REFERENCES[mode]):  # type: ignore[index]
        with pytest.raises(ConfigError, match=f"cannot use the reference '{reference}'"):
            Entry(METRICS[mode], reference=reference).meets()  # type: ignore[arg-type]


def test_witnesses_meet_the_truth_or_else_the_untouched_image() -> None:
    entries = [Entry(name) for name in ("psnr", "driqa", "nriqa")]
    witnesses, absent = make_witnesses(entries, {"degraded", "truth"})
    assert [witness.reference for witness in witnesses] == ["truth", "degraded", "none"]
    assert not absent
    witnesses, absent = make_witnesses(entries, set())
    assert [witness.reference for witness in witnesses] == ["untouched", "none"]
    assert list(absent) == ["driqa"]


def test_metrics_that_cannot_be_made_are_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._METRICS, "no_weights", f"{__name__}:NoWeights")
    judges, unmade = make_judges([Entry("no_weights"), Entry("nriqa")], set())
    assert [judge.label for judge in judges] == ["nriqa"]
    assert "WeightsError: " in unmade["no_weights"]
    assert "drmetric fit-niqe" in unmade["no_weights"]
    with pytest.raises(InputError, match="unknown metric 'nirqa'"):
        make_judges([Entry("nirqa")], set())


def test_twins_are_refused() -> None:
    with pytest.raises(ConfigError, match="two metrics are called 'psnr'"):
        make_judges([Entry("psnr"), Entry("psnr")], {"truth"})
    with pytest.raises(ConfigError, match="'psnr' and 'PSNR' are the same metric"):
        make_judges([Entry("psnr"), Entry("psnr", "PSNR")], {"truth"})
    with pytest.raises(ConfigError, match="no metric was named"):
        make_judges([], {"truth"})


def test_a_judge_rates_with_the_image_that_it_meets() -> None:
    image, truth = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    psnr = create("psnr")
    assert Judge("psnr", "truth", psnr).rate(image, {"truth": truth}) == psnr(image, truth)
    with pytest.raises(PairingError, match="no truth image has the name of this image"):
        Judge("psnr", "truth", psnr).rate(image, {"degraded": truth})
    assert not Judge("lr_psnr", "degraded", create("lr_psnr")).judges_quality


@pytest.mark.parametrize(
    ("text", "display"),
    [
        ("driqa", "DRIQA"),
        ("psnr(channel=y, shave=4)", "PSNR-Y"),
        ("ms_ssim", "MS-SSIM"),
        ("haarpsi", "HaarPSI"),
        ("lr_psnr", "LR-PSNR, dB"),
        ("gmsd(reference=degraded)", "GMSD to input"),
        ("driqa(weights=/somewhere/mine.safetensors)", "DRIQA (mine.safetensors)"),
        ("psnr(label=mine)", "mine"),
    ],
)
def test_people_read_names_as_papers_write_them(text, display):
    assert Entry.parse(text).display == display


def test_two_metrics_of_one_name_are_told_apart_by_their_options():
    judges, _ = make_judges([Entry.parse("psnr(channel=y)"), Entry.parse("psnr(channel=y, shave=4)")], ("truth",))
    assert [judge.head for judge in judges] == ["psnr(channel=y)", "psnr(channel=y, shave=4)"]
    assert [judge.label for judge in judges] == [judge.head for judge in judges]


@torch.no_grad()
def test_metrics_on_one_backbone_run_it_once_an_image() -> None:
    names = ["nriqa", "nriqa_akd", "nariqa"]
    judges, _ = make_judges([Entry(name) for name in names], set())
    networks = [judge.metric.network for judge in judges]
    assert len({network.backbone for network in networks}) == 1
    passes: list[torch.nn.Module] = []
    networks[0].backbone.stages[0].register_forward_hook(lambda module, *_: passes.append(module))
    for image in torch.rand(2, 1, 3, 64, 80, generator=torch.Generator().manual_seed(0)):
        for judge, name in zip(judges, names, strict=True):
            assert torch.equal(judge.rate(image, {}), create(name)(image))
    assert len(passes) == 2 * 2  # "akd" looks at a distorted copy, too
