"""Files are taken once each, whatever names them; what does not fit together is refused; joins know what was known."""

import hashlib
import json
import shutil
from datetime import date, datetime

import polars as pl
import pytest

from headrace.data.expectations import Expectations, Expected, check_declared
from headrace.data.joining import join_as_of
from headrace.data.sources import read_query, read_source
from headrace.kernel.errors import InvalidInput, NotTrusted


def track(path):
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".dvc").write_text(f"outs:\n- md5: {md5}\n  path: {path.name}\n")
    return md5


def test_each_file_once(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a.csv", "B.CSV"):
        (tmp_path / "data" / name).write_text("x\n1\n")
    track(tmp_path / "data" / "a.csv")
    for patterns in (["data/*"], ["data"], ["data/a.csv", "data/*.csv", "data/B.CSV"]):
        taken = read_source(patterns, tmp_path)
        assert taken.frame.height == 2 and len(taken.origin) == 2, (patterns, taken)
    assert read_source([str(tmp_path / "data" / "*.csv")], tmp_path).frame.height == 1


def test_what_dvc_tracks_and_is_not_here_is_not_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "c.csv").write_text("x\n2\n")
    track(tmp_path / "c.csv")
    (tmp_path / "c.csv").unlink()
    for pattern in ("*.csv", ".", "c.csv"):
        with pytest.raises(InvalidInput, match="not here, and DVC tracks it"):
            read_source([pattern], tmp_path)


def test_types_that_differ_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.csv").write_text("x\nA2\n")
    with pytest.raises(InvalidInput, match=r"'x' is text in b.csv, and no text in a.csv"):
        read_source(["*.csv"], tmp_path)


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(InvalidInput, match=r"no address that can be used|is not installed"):
        read_query("mysql+pymysql://h/d", "SELECT 1", {})


def test_a_date_is_known_when_its_day_is_over():
    base = pl.DataFrame({"k": [1, 1], "t": [datetime(2024, 1, 2, 9), datetime(2024, 1, 3, 0)]})
    facts = pl.DataFrame({"k": [1, 1], "day": [date(2024, 1, 1), date(2024, 1, 2)], "v": [10, 20]})
    assert join_as_of(base, "t", facts, "f", on=("k",), known="day")["v"].to_list() == [10, 20]
    with pytest.raises(InvalidInput, match="'k' of a join is Int64 in the dataset and String in f"):
        join_as_of(base, "t", facts.with_columns(pl.col("k").cast(pl.String)), "f", on=("k",), known="day")
    once = join_as_of(base, "t", facts, "f", on=("k",), known="day")
    twice = join_as_of(once, "t", facts, "f", on=("k",), known="day")
    with pytest.raises(InvalidInput, match="is there already"):
        join_as_of(twice, "t", facts, "f", on=("k",), known="day")


def test_not_a_number_counts_as_null():
    frame = pl.DataFrame({"x": [float("nan")] * 3, "n": [None] * 3})
    found = check_declared(frame, Expectations(columns={"x": Expected(nulls=0.0, max=5.0)}), ())
    assert [(one.column, one.count) for one in found] == [("x", 3)]


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def folder(tmp_path):
    """A folder as ``dvc add data`` leaves it, its cache included."""
    files = {"b.csv": b"x\n1\n", "sub/a.csv": b"x\n2\n", "\u00e9 \u00fc.csv": "\u00e9\n3\n".encode()}
    cache = tmp_path / ".dvc" / "cache" / "files" / "md5"
    listing = json.dumps([{"md5": md5(files[name]), "relpath": name} for name in sorted(files)]).encode()
    for name, content in files.items():
        place = tmp_path / "data" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    for name, content in {md5(listing) + ".dir": listing, **{md5(c): c for c in files.values()}}.items():
        kept = cache / name[:2] / name[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {md5(listing)}.dir\n  nfiles: 3\n  hash: md5\n  path: data\n")
    return tmp_path


DIR = "66dd0db5a35008c11d74083643656b0e.dir"
"""What DVC 3 itself says of this folder."""


def test_a_folder_that_dvc_tracks_is_taken_with_its_hash(folder):
    taken = read_source(["data"], folder)
    assert taken.frame.height == 3
    assert taken.origin[0] == f"data/b.csv: DVC md5 {md5(b'x' + bytes([10]) + b'1' + bytes([10]))} of {DIR}"
    for pattern in ("data/*.csv", "data/sub/a.csv", "data/sub", "."):
        assert all(line.endswith(DIR) for line in read_source([pattern], folder).origin), pattern


@pytest.mark.parametrize(("pattern", "files"), [("data", 3), ("data/*.csv", 2), ("data/sub/a.csv", 1), ("data/", 3)])
def test_a_folder_that_is_not_checked_out_comes_from_the_cache(folder, pattern, files):
    before = read_source([pattern], folder)
    shutil.rmtree(folder / "data")
    taken = read_source([pattern], folder)
    assert len(taken.origin) == files and taken.origin == before.origin and taken.frame.equals(before.frame)


def test_a_folder_without_a_cache_is_held_against_its_own_listing(folder):
    shutil.rmtree(folder / ".dvc")
    assert read_source(["data"], folder).frame.height == 3
    (folder / "data" / "b.csv").write_text("x\n9\n")
    with pytest.raises(NotTrusted, match="The folder data is not the one that DVC tracks"):
        read_source(["data"], folder)


def test_a_folder_that_was_changed_is_refused(folder):
    (folder / "data" / "new.csv").write_text("x\n1\n")
    with pytest.raises(NotTrusted, match=r"data/new.csv is not in the folder as DVC tracks it \(data.dvc\)"):
        read_source(["data"], folder)
    (folder / "data" / "new.csv").unlink()
    (folder / "data" / "b.csv").write_text("x\n9\n")
    with pytest.raises(NotTrusted, match=r"data/b.csv is not the file that DVC tracks"):
        read_source(["data/*.csv"], folder)
    shutil.rmtree(folder / "data")
    shutil.rmtree(folder / ".dvc")
    with pytest.raises(InvalidInput, match="The folder data is not here"):
        read_source(["data"], folder)


def test_a_listing_that_leads_elsewhere_is_refused(folder):
    for name in ("../secret.csv", "/etc/secret.csv"):
        listing = json.dumps([{"md5": md5(b""), "relpath": name}]).encode()
        kept = folder / ".dvc" / "cache" / "files" / "md5" / md5(listing)[:2] / (md5(listing)[2:] + ".dir")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(listing)
        (folder / "data.dvc").write_text(f"outs:\n- md5: {md5(listing)}.dir\n  path: data\n")
        with pytest.raises(NotTrusted, match="leads out of it"):
            read_source(["data"], folder)


@pytest.mark.parametrize(
    ("pattern", "files"),
    [("data", 3), ("data/", 3), ("d*", 3), ("d*/", 3), ("data/*.csv", 2), ("d*/*.csv", 2), (".", 3)],
)
def test_a_file_that_is_missing_is_not_left_out(folder, pattern, files):
    (folder / "data" / "b.csv").unlink()
    assert len(read_source([pattern], folder).origin) == files


def test_a_folder_whose_name_looks_like_a_pattern(folder):
    strange = folder.with_name(f"{folder.name} [1]")
    folder.rename(strange)
    (strange / "data" / "b.csv").unlink()
    assert len(read_source(["data/*.csv"], strange).origin) == 2


def tracked(folder, name, files):
    """Track a folder as DVC does, without a cache."""
    for inside, content in files.items():
        place = folder / name / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    found = sorted(p.relative_to(folder / name).as_posix() for p in (folder / name).rglob("*") if p.is_file())
    listing = json.dumps([{"md5": md5((folder / name / one).read_bytes()), "relpath": one} for one in found]).encode()
    (folder / f"{name}.dvc").write_text(f"outs:\n- md5: {md5(listing)}.dir\n  path: {name}\n")


def test_hidden_files_are_passed_over_as_elsewhere(tmp_path):
    tracked(tmp_path, "data", {"a.csv": b"x\n1\n", "_meta.csv": b"x\n2\n", ".ipynb_checkpoints/a.csv": b"x\n1\n"})
    assert read_source(["data"], tmp_path).frame["x"].to_list() == [1]


def test_a_delta_table_is_read_as_one(tmp_path):
    frame = pl.DataFrame({"x": [1, 2, 3]})
    frame.write_delta(tmp_path / "data")
    frame.filter(pl.col("x") > 1).write_delta(tmp_path / "data", mode="overwrite")
    tracked(tmp_path, "data", {})
    assert sorted(read_source(["data"], tmp_path).frame["x"].to_list()) == [2, 3]


def test_the_cache_may_be_elsewhere(folder):
    (folder / ".dvc" / "cache").rename(folder / "shared")
    (folder / ".dvc" / "config").write_text("[core]\n    remote = x\n[cache]\n    dir = ../shared\n")
    shutil.rmtree(folder / "data")
    assert read_source(["data"], folder).frame.height == 3
