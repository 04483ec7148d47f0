"""A bundle is opened only when every byte of it is the one that was registered."""

import random

import pytest

from headrace.kernel.errors import NotTrusted
from headrace.runtimes.opening import open_bundle


@pytest.fixture
def bundle(registered):
    version = registered.version("late@1")
    return registered.places.bundles / version.digest, version.digest


def test_it_opens_and_answers(bundle):
    scorer = open_bundle(*bundle)
    assert scorer.answer({"minutes": [40.0], "carrier": ["UA"]}, 1).predictions == [True]


def test_every_mutated_truncated_or_missing_file_is_refused_before_it_is_loaded(registered, bundle):
    folder, digest = bundle
    version = registered.version("late@1")
    chance = random.Random(1)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        mutated = bytearray(content)
        mutated[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        for altered in (bytes(mutated), content[:-1], b""):
            path.write_bytes(altered)
            with pytest.raises(NotTrusted):
                registered.version_store.open(version)
        path.unlink()
        with pytest.raises(NotTrusted):
            registered.version_store.open(version)
        path.write_bytes(content)
    open_bundle(folder, digest)


def test_extra_files_links_and_another_digest_are_refused(bundle, tmp_path):
    folder, digest = bundle
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "extra.py").touch()
    with pytest.raises(NotTrusted, match="not its own"):
        open_bundle(folder, digest)
    (folder / "code" / "extra.py").unlink()
    model = folder / "reference" / "model.pkl"
    model.rename(tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotTrusted, match="is a link"):
        open_bundle(folder, digest)
    with pytest.raises(NotTrusted, match="manifest"):
        open_bundle(folder, "0" * 64)


def test_what_it_records(registered):
    import json

    version = registered.version("late@1")
    folder = registered.places.bundles / version.digest
    environment = json.loads((folder / "environment" / "environment.json").read_text())
    assert environment["packages"]["numpy"]["version"] and environment["packages"]["numpy"]["content"]
    assert environment["python"] and environment["cpu"] and environment["cores"]
    assert json.loads((folder / "evidence" / "certificate.json").read_text())["passed"]
    assert "late@1" in version._repr_html_() and "L1" in version._repr_html_()
