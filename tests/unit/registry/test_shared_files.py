"""Files that several bundles of a model have in common lie on the disk once."""

import os

import pytest
from tests.conftest import Threshold

from headrace.kernel.errors import NotTrusted

WORDS = tuple(f"word {i} " * 20 for i in range(200))


class Wordy(Threshold):
    """Carries something large that does not change."""

    def __init__(self, limit):
        super().__init__(limit)
        self.words = WORDS


@pytest.fixture
def two(ws, example):
    for _ in range(2):
        ws.register("late", Wordy(30.0), example=example)
    return [ws.version(f"late@{n}") for n in (1, 2)]


def inodes(ws, version):
    folder = ws.places.bundles / version.digest
    return {p.relative_to(folder).as_posix(): p.stat() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.embedded
def test_equal_files_are_one(ws, two):
    first, second = (inodes(ws, version) for version in two)
    shared = [name for name in first if first[name].st_ino == second[name].st_ino]
    assert shared and all(first[name].st_size >= 4096 for name in shared)
    model = max(first, key=lambda name: first[name].st_size)
    assert model in shared and first["manifest.json"].st_ino != second["manifest.json"].st_ino
    assert ws.verify() == []


@pytest.mark.embedded
def test_what_is_damaged_is_not_taken_over(ws, two, example):
    sizes = {name: stat.st_size for name, stat in inodes(ws, two[0]).items()}
    path = ws.places.bundles / two[0].digest / max(sizes, key=sizes.get)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    third = ws.register("late", Wordy(30.0), example=example)
    assert ws.predict(third.reference, example.head(3)).height == 3
    for version in two:
        with pytest.raises(NotTrusted):
            ws.version_store.open(version)


@pytest.mark.embedded
def test_where_there_are_no_links_each_has_its_own(ws, example, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    ws.register("late", Wordy(30.0), example=example)
    ws.register("late", Wordy(30.0), example=example)
    assert ws.verify() == []


@pytest.mark.embedded
def test_a_copy_is_whole(ws, two, tmp_path):
    ws.copy(tmp_path / "copy")
    import headrace

    copy = headrace.open(tmp_path / "copy")
    assert copy.verify() == [] and len(copy.versions("late")) == 2
    copy.close()


@pytest.mark.embedded
@pytest.mark.parametrize("how", ["gone", "a link", "unreadable"])
def test_an_earlier_bundle_that_is_not_whole_holds_up_nothing(ws, two, example, tmp_path, how):
    sizes = {name: stat.st_size for name, stat in inodes(ws, two[0]).items()}
    for version in two:
        path = ws.places.bundles / version.digest / max(sizes, key=sizes.get)
        content = path.read_bytes()
        path.unlink()
        if how == "a link":
            (tmp_path / "elsewhere").write_bytes(content)
            path.symlink_to(tmp_path / "elsewhere")
        elif how == "unreadable":
            path.mkdir()
    third = ws.register("late", Wordy(30.0), example=example)
    folder = ws.version_store.folder(third)
    assert not [p for p in folder.rglob("*") if p.is_symlink() or p.suffix == ".link"]
