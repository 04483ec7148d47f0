"""Models from a hostile hand: none of them runs anything, whatever they are called and however they are wrapped."""

import os
import time

import pytest
from tests.faults.tricks import skops_files, tricks, would_run, wrapped

from headrace.kernel.errors import HeadraceError, InvalidInput, NotTrusted

LEAST_FILES = 2_000


def test_the_tricks_do_work_on_who_opens_them(tmp_path):
    worked = 0
    for name, content in tricks(tmp_path / "sentinel"):
        if name.split("/")[0] in ("os.system", "builtins.exec", "memo", "inst", "dotted", "broken after", "partial"):
            assert would_run(content, tmp_path / "sentinel"), name
            (tmp_path / "sentinel").unlink()
            worked += 1
    assert worked >= 9


def test_no_pickle_is_opened_whatever_it_is_called(ws, example, tmp_path, monkeypatch):
    sentinel = tmp_path / "sentinel"
    files = 0
    found = list(tricks(sentinel))
    assert len(found) >= 100
    monkeypatch.setattr("headrace.training.importing._in_child", _never)
    for number, (name, content) in enumerate(found):
        for path in wrapped(content, tmp_path / str(number)):
            files += 1
            with pytest.raises((HeadraceError, Asked)) as caught:
                ws.register("evil", path, example=example)
            assert not sentinel.exists(), (name, path)
            if caught.type is Asked:
                assert path.name.startswith(("polyglot", "model.cbm")), (name, path)
            else:
                assert caught.type in (NotTrusted, InvalidInput), caught.value
    assert files >= LEAST_FILES
    assert ws.models() == []


class Asked(Exception):
    """A child would have been asked to read it by its own library's reader."""


def _never(_work, asked, _keys):
    assert asked.kind not in ("pickle", "skops"), asked
    raise Asked


def test_skops_files_are_held_against_our_own_list(ws, example, tmp_path):
    sentinel = tmp_path / "sentinel"
    for name, content in skops_files(sentinel):
        path = tmp_path / "model.skops"
        path.write_bytes(content)
        with pytest.raises((NotTrusted, InvalidInput)):
            ws.register("evil", path, example=example)
        assert not sentinel.exists(), name
    assert ws.models() == []


def test_what_begins_like_a_native_file_is_not_unpickled_by_its_reader(ws, example, tmp_path):
    sentinel = tmp_path / "sentinel"
    content = dict(tricks(sentinel))["os.system/4"]
    for front in (b"CBM1", b"tree\nversion=v4\n", b'{"learner": '):
        (tmp_path / "model").write_bytes(front + content)
        with pytest.raises(InvalidInput, match="could not be opened"):
            ws.register("evil", tmp_path / "model", example=example)
        assert not sentinel.exists()


def test_a_refusal_names_the_types(ws, example, tmp_path):
    (tmp_path / "model.onnx").write_bytes(dict(tricks(tmp_path / "sentinel"))["os.system/4"])
    with pytest.raises(NotTrusted, match=r"is a pickle.*names os\.system"):
        ws.register("evil", tmp_path / "model.onnx", example=example)


def test_a_trusted_file_is_opened_without_network_and_without_secrets(ws, example, tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "hunter2")
    code = (
        "import os, socket\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 2)\nexcept OSError as e:\n    told = repr(e)\n"
        f"open({str(tmp_path / 'told')!r}, 'w').write(told + str('A_SECRET' in os.environ) + str(os.getpid()))"
    )
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93" + _text(code) + b"\x85R.")
    with pytest.raises(InvalidInput, match="NoneType"):
        ws.register("evil", tmp_path / "model.pkl", example=example, trust=True)
    told = (tmp_path / "told").read_text()
    assert "Network is unreachable" in told
    assert "False" in told
    assert not told.endswith(str(os.getpid()))


def test_what_a_trusted_file_starts_ends_with_it(ws, example, tmp_path):
    code = f"import subprocess\nsubprocess.Popen(['sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 600'])"
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93" + _text(code) + b"\x85R.")
    with pytest.raises(InvalidInput):
        ws.register("evil", tmp_path / "model.pkl", example=example, trust=True)
    deadline = time.monotonic() + 10
    while (tmp_path / "pid").exists() and time.monotonic() < deadline:
        try:
            os.kill(int((tmp_path / "pid").read_text() or 0), 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        assert not (tmp_path / "pid").exists()


def _text(value):
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()
