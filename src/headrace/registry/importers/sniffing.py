"""What a file or folder holds, by its content alone; nothing of it is opened."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from headrace.kernel.errors import InvalidInput
from headrace.registry.importers.pickles import is_pickle
from headrace.runtimes.bundle import MANIFEST

Kind = Literal["pickle", "skops", "onnx", "lightgbm", "xgboost", "catboost", "mlflow", "bundle"]
HEAD = 1 << 20
_READABLE = (
    "a fitted object (pickle, joblib, cloudpickle, skops), LightGBM text, XGBoost JSON or UBJSON, CatBoost cbm, ONNX, "
    "an MLflow model's folder, or a Headrace bundle"
)

_PACKED: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", lambda content: gzip.GzipFile(fileobj=io.BytesIO(content)).read(HEAD)),
    (b"BZh", lambda content: bz2.BZ2Decompressor().decompress(content, HEAD)),
    (b"\xfd7zXZ\x00", lambda content: lzma.LZMADecompressor().decompress(content, HEAD)),
    (b"\x5d\x00\x00", lambda content: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(content, HEAD)),
    (b"\x78", lambda content: zlib.decompressobj().decompress(content, HEAD)),
    (b"\x04\x22\x4d\x18", lambda _content: b"\x80\x04"),  # LZ4, in which joblib alone writes models
)


def kind_of(path: Path) -> Kind:
    """What stands at `path`.

    Raises:
        InvalidInput: nothing does, or nothing that can be registered.
    """
    if path.is_dir():
        for name, kind in (("MLmodel", "mlflow"), (MANIFEST, "bundle")):
            if (path / name).is_file():
                return kind  # pyright: ignore[reportReturnType]
        raise _unknown(path, "is a folder without MLmodel or manifest.json")
    if not path.is_file():
        raise InvalidInput(f"There is no file {path}.", expected="a saved model", todo="Correct the path.")
    if not path.stat().st_size:
        raise _unknown(path, "is empty")
    return kind_of_content(path.read_bytes(), str(path))


def kind_of_content(content: bytes, name: str) -> Kind:
    """What a file holds.

    Raises:
        InvalidInput: nothing that can be registered.
    """
    for magic, kind in ((b"CBM1", "catboost"), (b"tree\nversion", "lightgbm")):
        if content.startswith(magic):
            return kind  # pyright: ignore[reportReturnType]
    if content.startswith(b"PK"):
        return _in_archive(content, name)
    if content[:1] == b"{" and b"learner" in content[:HEAD] and not is_pickle(content):
        return "xgboost"
    if is_pickle(unpacked(content)):
        return "pickle"
    if _is_onnx(content):
        return "onnx"
    raise _unknown(name, f"begins with {content[:16]!r}, which is none of the forms known here")


def _in_archive(content: bytes, name: str) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise _unknown(name, f"is a damaged archive ({error})") from error
    if "schema.json" in names:
        return "skops"
    if any(one.endswith((".pkl", ".pickle", ".joblib")) for one in names):
        return "pickle"
    raise _unknown(name, f"is an archive of {len(names)} files, none of them skops' schema.json")


def unpacked(content: bytes) -> bytes:
    """The beginning of what was packed, where the file was, else the content itself."""
    for magic, unpack in _PACKED:
        if content.startswith(magic):
            try:
                return unpack(content)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return b""
    return content


def _is_onnx(content: bytes) -> bool:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError):
        return False
    return bool(model.ir_version) and bool(model.graph.node)


def _unknown(path: Path | str, what: str) -> InvalidInput:
    return InvalidInput(f"{path} {what}.", expected=_READABLE, todo="Save the model in one of these forms.")
