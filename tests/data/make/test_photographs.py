"""Photographs as contents: which files, their names and their splits."""

from pathlib import Path

import pytest

from drmetric.data.make.photographs import Content, Source, list_contents, read_sources, refuse_within
from drmetric.errors import ConfigError


def touch(root: Path, *names: str) -> Path:
    """Empty files: listing does not read them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def contents_of(folder: Path | str, name: str = "photos", **more: str) -> list[Content]:
    return list_contents([Source(name, str(folder), "train", **more)], 0, 0.0)  # type: ignore[arg-type]


def test_validation_share_is_drawn_by_content_and_does_not_move(tmp_path: Path) -> None:
    folder = touch(tmp_path / "photos", *(f"{index * 7919 % 100003}.png" for index in range(600)))
    plain = Source("photos", str(folder), "train")

    def validated(*sources: Source, seed: int = 0, share: float = 0.25) -> set[str]:
        contents = list_contents(sources, seed, share)
        assert {c.split for c in contents} <= {"train", "validation", "test"}
        assert len({c.name for c in contents}) == len(contents)
        return {c.name for c in contents if c.split == "validation"}

    drawn = validated(plain)
    assert len(drawn) == pytest.approx(150, abs=40)
    assert validated(plain, seed=1) != drawn
    assert validated(plain, share=0.0) == set()
    assert len(validated(plain, share=1.0)) == 600

    halves = Source("halves", str(folder), "train", shrink_to=32)
    kodak = Source("kodak", str(touch(tmp_path / "kodak", "1.png")), "test")
    more = validated(halves, plain, kodak)
    assert {name for name in more if name.startswith("photos-")} == drawn, "another source moved contents"
    assert {name for name in more if name.startswith("halves-")} == {n.replace("photos-", "halves-") for n in drawn}
    assert not {name for name in more if name.startswith("kodak-")}, "test contents are never drawn"


def test_environment_variables_in_folders_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "photos/coffee.png")
    monkeypatch.setenv("DRMETRIC_TEST_PHOTOS", str(tmp_path))
    assert [each.file for each in contents_of("$DRMETRIC_TEST_PHOTOS/photos")] == [tmp_path / "photos/coffee.png"]
    monkeypatch.delenv("DRMETRIC_TEST_PHOTOS")
    with pytest.raises(ConfigError, match="not set: DRMETRIC_TEST_PHOTOS"):
        contents_of("$DRMETRIC_TEST_PHOTOS/photos")


def test_pattern_and_excluded_names_choose_the_photographs(tmp_path: Path) -> None:
    touch(tmp_path, "astronaut.png", "chelsea.png", "coffee.png", "cats.txt")
    chosen = Source("photos", str(tmp_path), "train", pattern="c*", exclude=("coffee.png",)).files()
    assert [file.name for file in chosen] == ["chelsea.png"]
    with pytest.raises(ConfigError, match="but the 2 that are excluded"):
        Source("photos", str(tmp_path), "train", "c*", ("coffee.png", "chelsea.png")).files()


def test_an_excluded_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "astronaut.png", "coffee.png")
    with pytest.raises(ConfigError, match=r"no photograph 'cofee\.png' to exclude") as caught:
        Source("photos", str(tmp_path), "train", exclude=("astronaut.png", "cofee.png")).files()
    assert caught.value.fix.startswith('exclude = ["astronaut.png", "coffee.png"]')


def test_hidden_files_and_folders_are_no_photographs(tmp_path: Path) -> None:
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "folder.png").mkdir()
    touch(tmp_path, "astronaut.png", "._astronaut.png", ".thumbnails/chelsea.png")
    assert [file.name for file in Source("photos", str(tmp_path), "train").files()] == ["astronaut.png"]


def test_photographs_of_one_name_in_two_folders_are_two_contents(tmp_path: Path) -> None:
    touch(tmp_path, "left/coffee.png", "right/coffee.png")
    assert [each.name for each in contents_of(tmp_path)] == ["photos-left-coffee", "photos-right-coffee"]


@pytest.mark.parametrize("names", [("k.bmp", "k.png"), ("a b.png", "a_b.png"), ("x/y.png", "x-y.png")])
def test_photographs_whose_contents_would_share_a_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(ConfigError, match="would both be the content 'photos-") as caught:
        contents_of(tmp_path)
    assert all(str(tmp_path / name) in str(caught.value) for name in names)
    second = Path(caught.value.fix.split('"')[1]).name
    assert len(contents_of(tmp_path, exclude=(second,))) == 1  # type: ignore[arg-type]


def test_two_sources_may_not_share_a_content(tmp_path: Path) -> None:
    touch(tmp_path, "one/b-c.png", "two/c.png")
    sources = [Source("a", str(tmp_path / "one"), "train"), Source("a-b", str(tmp_path / "two"), "train")]
    with pytest.raises(ConfigError, match="would both be the content 'a-b-c'"):
        list_contents(sources, 0, 0.0)


def test_a_photograph_may_not_be_in_two_splits(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    sources = [Source("one", str(tmp_path / "photos"), "train"), Source("two", str(tmp_path / "link"), "test")]
    with pytest.raises(ConfigError, match=r"a\.png would be of the splits train and test"):
        list_contents(sources, 0, 0.0)
    views = [sources[0], Source("two", str(tmp_path / "link"), "train", shrink_to=32)]
    assert len(list_contents(views, 0, 0.5)) == 4


def test_what_is_built_may_not_lie_among_the_photographs(tmp_path: Path) -> None:
    photos = Source("photos", str(touch(tmp_path / "photos", "a.png")), "train")
    flat = Source("photos", photos.folder, "train", pattern="*.png")
    for source, output, is_refused in (
        (photos, "photos", True),
        (photos, "photos/new/corpus", True),
        (photos, "photos-2", False),
        (flat, "photos", True),
        (flat, "photos/new", False),
    ):
        if is_refused:
            with pytest.raises(ConfigError, match="its images would be photographs"):
                refuse_within([source], tmp_path / output)
        else:
            refuse_within([source], tmp_path / output)


@pytest.mark.parametrize("name", ["", "..", "../..", "a/b", "/tmp", "a b"])
def test_names_that_are_no_part_of_a_file_name_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)the source .* cannot be part of a file name.*fix: name = .photos"):
        read_sources({"sources": [{"name": name, "folder": ".", "split": "train"}]}, tmp_path / "c.toml")
