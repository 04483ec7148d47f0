"""Nothing that people may write becomes a line of a Containerfile, or a file outside of an image's folder."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.delivery.builders import build_command, builder_of, need_tag
from headrace.delivery.containerfile import TEXT, containerfile
from headrace.delivery.context import discard_context
from headrace.delivery.wheels import LOCK, Wheel, _locked, fetched, unpacked
from headrace.kernel.errors import HeadraceError, InvalidInput, Unavailable

DIGEST = "0123456789abcdef" * 4
GOOD = {"model": "late", "version": 3, "digest": DIGEST, "base": "python:3.11-slim", "provenance": DIGEST}
HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "a\nRUN rm -rf /",
        'a" b="c',
        "python:3.11 AS made\nUSER root",
        "${PATH}",
        "$(id)",
        "--privileged",
        "a b",
        "a\u2028b",
    ]
)


@given(st.sampled_from(["model", "base", "digest", "provenance"]), HOSTILE)
def test_a_value_is_refused_or_stays_within_its_place(name, value):
    try:
        text = containerfile(**{**GOOD, name: value}, release="0.1.0")
    except HeadraceError as error:
        assert error.todo
        return
    assert len(text.splitlines()) == len(TEXT.splitlines())
    assert [line.split(" ")[0] for line in text.splitlines()] == [line.split(" ")[0] for line in TEXT.splitlines()]
    assert text.count('"') == containerfile(**GOOD, release="0.1.0").count('"')


@given(HOSTILE)
def test_a_tag_is_refused_or_one_word(tag):
    try:
        assert need_tag(tag) == tag
    except InvalidInput:
        return
    assert tag.split() == [tag]
    assert not tag.startswith("-")


def test_the_lock_is_for_the_image_and_not_for_this_machine():
    lines = {
        python: [
            line.split()[0] for line in _locked(LOCK.read_text(), python, "linux/amd64", {"rich"}) if line[0] != " "
        ]
        for python in ("3.11", "3.12")
    }
    numpy = {python: [line for line in found if line.startswith("numpy==")] for python, found in lines.items()}
    assert [len(found) for found in numpy.values()] == [1, 1]
    assert numpy["3.11"] != numpy["3.12"]
    assert not [line for line in lines["3.11"] if line.startswith("rich==")]
    assert any(line.startswith("onnxruntime==") for line in lines["3.11"])


def wheel(folder, *names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    path = folder / "it-1.0-py3-none-any.whl"
    path.write_bytes(content.getvalue())
    return Wheel("it", "1.0", "", path)


def test_a_wheel_is_unpacked_without_what_no_program_needs(tmp_path):
    it = wheel(
        tmp_path,
        "it/a.py",
        "it/tests/b.py",
        "it/a.pyi",
        "it-1.0.data/purelib/c.py",
        "it-1.0.data/scripts/run",
        "it/include/x.h",
    )
    unpacked([it], tmp_path / "site")
    files = sorted(path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.*"))
    assert files == ["c.py", "it/a.py"]


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "it-1.0.data/purelib/../../outside.py"])
def test_a_wheel_that_names_a_file_outside_is_refused(tmp_path, name):
    with pytest.raises(Unavailable, match="lies outside of it"):
        unpacked([wheel(tmp_path, name)], tmp_path / "site")
    assert not (tmp_path / "outside.py").exists()


def test_what_cannot_be_is_refused_with_what_could(tmp_path):
    with pytest.raises(InvalidInput, match="windows/amd64"):
        fetched([], "3.11", "windows/amd64", tmp_path)
    with pytest.raises(InvalidInput, match="kaniko"):
        builder_of("kaniko")


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
def test_each_builder_is_asked_in_its_words(tmp_path, builder):
    command = build_command(builder, tmp_path, "late:3", "linux/arm64", "--no-cache --label 'a b'")
    assert command[0] == builder
    assert {"--no-cache", "a b", "linux/arm64", str(tmp_path)} <= set(command)
    assert ("--timestamp" in command) == (builder != "docker")


def test_only_a_build_context_gives_way(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Containerfile").write_text("FROM scratch\n")
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Containerfile").write_text(containerfile(**GOOD, release="0.1.0"))
    for folder in ("mine", "context", "none"):
        discard_context(tmp_path / folder)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
