"""Every raise site whose fix is a line to run has a case here, or stands in elsewhere.txt with the reason why not."""

from importlib import import_module
from pathlib import Path

from tests.fixes import COVERED, places_of, sites, test_calls

ELSEWHERE = Path(__file__).with_name("elsewhere.txt")
MOST = 30


def test_every_fix_is_run_or_has_a_reason() -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        import_module(f"{__package__}.{path.stem}")  # each says which sites it covers
    calls = (*test_calls.KEYWORDS.values(), *(call for call, _ in test_calls.EXPRESSIONS.values()))
    places = {place for call in calls for place in places_of(call)[0]}
    left = {name for name, path, lines in sites() if not any(p == path and line in lines for p, line in places)}
    left = {name for name in left if not any(name.startswith(site) for site in COVERED)}
    lines = ELSEWHERE.read_text(encoding="utf-8").splitlines()
    known = {line for line in lines if line and not line.startswith("#")}
    assert len(known) < MOST
    assert left - known == set(), "run these fixes in a case"
    assert known - left == set(), f"take these out of {ELSEWHERE.name}"
