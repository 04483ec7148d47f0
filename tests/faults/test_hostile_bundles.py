"""10,000 bundles, altered in every way that one can think of: each is refused before anything in it is read."""

import random
import shutil
from collections import Counter

import pytest

from headrace.kernel.digests import digest_file
from headrace.kernel.errors import NotTrusted
from headrace.registry.signatures import open_trust
from headrace.runtimes.bundle import MANIFEST, SIGNATURE

ALTERED = 10_000


def flip(chance, folder, path, content):
    mutated = bytearray(content)
    mutated[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(mutated))


def truncate(chance, folder, path, content):
    path.write_bytes(content[: chance.randrange(len(content))])


def extend(chance, folder, path, content):
    path.write_bytes(content + chance.randbytes(chance.randint(1, 64)))


def insert(chance, folder, path, content):
    at = chance.randrange(len(content))
    path.write_bytes(content[:at] + chance.randbytes(1) + content[at:])


def remove(chance, folder, path, content):
    path.unlink()


def rename(chance, folder, path, content):
    path.rename(path.with_name(f"{path.name}.{chance.randrange(9)}"))


def add(chance, folder, path, content):
    path.with_name(f"extra-{chance.randrange(10**6)}.pkl").write_bytes(content)


def link(chance, folder, path, content):
    outside = folder.parent / "outside"
    outside.write_bytes(content)
    path.unlink()
    path.symlink_to(outside)


def swap(chance, folder, path, content):
    other = chance.choice([p for p in folder.rglob("*") if p.is_file() and p.read_bytes() != content])
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def forge(chance, folder, path, content):
    """Alter a file and make the manifest agree with it."""
    path = next(iter((folder / "reference").iterdir()))
    mutated = path.read_bytes() + chance.randbytes(4)
    before = digest_file(path)
    path.write_bytes(mutated)
    manifest = folder / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(before.encode(), digest_file(path).encode()))


WAYS = (flip, truncate, extend, insert, remove, rename, add, link, swap, forge)


@pytest.fixture
def bundle(registered, tmp_path):
    version = registered.version("late@1")
    return registered.places.bundles / version.digest, version.digest


def test_each_is_refused_and_nothing_in_it_is_read(registered, bundle, tmp_path, monkeypatch):
    def opened(*_anything):
        raise AssertionError("something in the bundle was read")

    for name in ("load_reference", "load_graph", "load_onnx_file", "read_schema"):
        monkeypatch.setattr(f"headrace.runtimes.opening.{name}", opened)
    folder, digest = bundle
    chance = random.Random(7)
    trust = open_trust(registered.places.signing_public, registered.places.trusted)
    good = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refused = Counter()
    for number in range(ALTERED):
        way = WAYS[number % len(WAYS)]
        path = chance.choice(sorted(good))
        way(chance, folder, path, good[path])
        # Half are asked for by the digest that the database holds, half as a bundle from elsewhere is.
        try:
            trust.verified(folder, digest if number % 2 else None)
        except NotTrusted:
            pass
        else:
            raise AssertionError(f"{way.__name__} of {path.relative_to(folder)}, number {number}, was not seen")
        if number % 50 == 0:
            with pytest.raises(NotTrusted):
                registered.predict("late@1", [{"minutes": 1.0, "carrier": "UA"}])
        refused[way.__name__] += 1
        _mend(folder, good)
    assert refused.total() == ALTERED
    assert trust.verified(folder, digest)[0] == digest


def _mend(folder, good):
    for path in folder.rglob("*"):
        if path not in good and not path.is_dir():
            path.unlink()
    for path, content in good.items():
        if path.is_symlink():
            path.unlink()
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def test_another_registrys_bundle_needs_its_key(registered, bundle, tmp_path):
    import headrace

    folder, digest = bundle
    other = headrace.open(tmp_path / "other")
    with pytest.raises(NotTrusted, match="not by a key that this registry trusts"):
        other.register("late", folder)
    other.trust_key(registered.places.signing_public)
    version = other.register("late", folder)
    assert version.digest != digest
    assert version.certificate.passed
    rows = [{"minutes": 44.0, "carrier": "UA"}]
    assert other.predict("late@1", rows).equals(registered.predict("late@1", rows))
    entry = other.audit(1)[0]
    assert entry.detail["came"] == {"from": "late@1", "bundle": digest}
    other.close()


def test_a_stolen_signature_does_not_fit_another_bundle(registered, bundle, example, tmp_path):
    from tests.conftest import Threshold

    second = registered.register("late", Threshold(3.0), example=example)
    folder = registered.places.bundles / second.digest
    shutil.copyfile(bundle[0] / SIGNATURE, folder / SIGNATURE)
    with pytest.raises(NotTrusted, match="another manifest"):
        registered.predict("late@2", [{"minutes": 1.0, "carrier": "UA"}])
