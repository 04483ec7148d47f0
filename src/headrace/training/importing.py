"""From a file to a version: ``python -m headrace.training.importing FOLDER`` opens it, cut off from the network.

The parent looks at what the file holds and decides whether it may be opened. The child opens it, asks it, compiles it
and fills the draft of a bundle; the parent seals, signs and certifies what stands there. A version that is served as a
Python object, and that nothing but a pickle holds, is opened by its certificate and by scoring servers like any other.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace.data.frames import to_polars
from headrace.kernel.clock import utc_now
from headrace.kernel.digests import digest_file
from headrace.kernel.errors import HeadraceError, InvalidInput, MissingExtra, NotTrusted, rebuilt
from headrace.kernel.identifiers import check_name
from headrace.kernel.places import Places
from headrace.kernel.records import Version
from headrace.registry.bundles import Draft, drafting
from headrace.registry.filling import Filled, fill
from headrace.registry.importers.bundles import register_bundle
from headrace.registry.importers.confined import run_confined
from headrace.registry.importers.mlflow_models import SCHEMES, Found, fetched, model_file
from headrace.registry.importers.pickles import imported_names
from headrace.registry.importers.sniffing import Kind, kind_of, unpacked
from headrace.registry.importers.xgboost_files import opened_xgboost
from headrace.registry.versions import Versions
from headrace.runtimes import stored
from headrace.runtimes.native import PythonFunction, feature_names
from headrace.training.registering import registration_of

SECONDS = 1800.0
FAILED = 3


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller names: a model at an `address`, with rows that it was fitted with.

    `address` is a path or ``models:/NAME/VERSION``; `trust` is the operator's word for a file that may run code when it
    is opened.
    """

    model: str
    address: str
    example: Any
    target: str | None = None
    holdout: Any = None
    who: str
    trust: bool = False


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is asked: open `file`, which holds `kind`, and fill `draft`."""

    file: str
    kind: Kind
    trusted: bool
    model: str
    example: str
    holdout: str
    target: str | None
    who: str
    draft: str
    python_function: bool = False
    artifacts: dict[str, str] = {}
    config: dict[str, Any] = {}


def is_address(given: Any) -> bool:
    """Whether something names a model in a file, a folder or an MLflow server, rather than being one."""
    return isinstance(given, str | Path)


def register_file(versions: Versions, places: Places, it: Given) -> Version:
    """Make a version of a model in a file, in an MLflow model's folder, on a live MLflow server, or in a bundle.

    Raises:
        InvalidInput: nothing stands there that can be registered, or the example does not fit.
        NotTrusted: it may run code when it is opened, and nobody gave their word for it. Nothing was opened.
    """
    check_name(it.model)
    with tempfile.TemporaryDirectory(prefix="headrace-") as work:
        path = fetched(it.address, Path(work)) if it.address.startswith(SCHEMES) else Path(it.address)
        kind = kind_of(path)
        if kind == "bundle":
            return register_bundle(versions, places, it.model, path, it.who, it.trust)
        found = model_file(path) if kind == "mlflow" else Found(path)
        if kind == "mlflow":
            path, kind = found.file, kind_of(found.file)
        _check(path, kind, it.trust)
        came = {"file": path.name, "form": kind, "sha256": digest_file(path)}
        trusted = {**came, "types": _names(path, kind)} if it.trust else None
        with drafting(places.staging) as draft:
            filled = _in_child(Path(work), _request(Path(work), found, kind, it, draft), places.signing_key.parent)
            _check_draft(draft, filled, it.model)
            return versions.enter(draft, filled, it.who, trusted, came)


def _names(path: Path, kind: Kind) -> list[str]:
    if kind == "skops":
        return stored.unknown_types(path.read_bytes())
    return imported_names(unpacked(path.read_bytes()))[:200] if kind == "pickle" else []


def _check(path: Path, kind: Kind, trust: bool) -> None:
    """Refuse what may run code when it is opened, unless the operator gave their word.

    Raises:
        NotTrusted: with the names of the types that it would bring in.
    """
    if trust or kind not in ("pickle", "skops"):
        return
    try:
        names = _names(path, kind)
    except ImportError as error:
        raise MissingExtra(f"{path} is a skops file.", todo="pip install 'headrace[sklearn]'") from error
    except Exception as error:
        raise NotTrusted(f"{path} is no sound skops file: {error}.", todo="Save the model again.") from error
    if kind == "pickle" or names:
        form = "pickle, which can run any code when it is opened" if kind == "pickle" else "skops file"
        raise NotTrusted(
            f"{path} is a {form}; it names {', '.join(names[:40]) or 'types that cannot be told'}.",
            expected="a model that this registry signed, types known to be harmless, or your word for it",
            todo="If you know who wrote it, say --trust; that is recorded, and it is opened without network.",
        )


def _request(work: Path, found: Found, kind: Kind, it: Given, draft: Draft) -> ImportRequest:
    if it.example is None:
        raise InvalidInput(
            "There is no example.", expected="rows as the model was fitted with", todo="Give some: --example ROWS."
        )
    return ImportRequest(
        file=str(found.file.absolute()),
        kind=kind,
        python_function=found.python_function,
        artifacts=found.artifacts,
        config=found.config,
        trusted=it.trust,
        model=it.model,
        example=_as_file(work / "example.arrow", it.example),
        holdout="" if it.holdout is None else _as_file(work / "holdout.arrow", it.holdout),
        target=it.target,
        who=it.who,
        draft=str(draft.folder.absolute()),
    )


def _as_file(path: Path, table: Any) -> str:
    to_polars(table).write_ipc(path)
    return str(path)


def _in_child(work: Path, asked: ImportRequest, keys: Path) -> Filled:
    """Have the draft filled by a confined process.

    Raises:
        HeadraceError: what the child said.
        InvalidInput: it died.
    """
    (work / "request.json").write_bytes(msgspec.json.encode(asked))
    code = run_confined("headrace.training.importing", work, SECONDS, keys)
    if code == FAILED and (work / "error.json").exists():
        raise rebuilt(msgspec.json.decode((work / "error.json").read_bytes()))
    if code:
        said = (work / "said.log").read_text(errors="replace").strip().splitlines()
        raise InvalidInput(
            f"{asked.file} could not be opened: the process ended with code {code}: {said[-1][-300:] if said else ''}",
            todo="See that the libraries that made the model are installed here.",
        )
    return msgspec.json.decode((work / "filled.json").read_bytes(), type=Filled)


def _check_draft(draft: Draft, filled: Filled, model: str) -> None:
    """See that the child left plain files, of the model that was asked for.

    Raises:
        NotTrusted: it left something else.
    """
    strange = [
        path.name for path in draft.folder.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]
    if strange or filled.manifest.name != model or filled.manifest.files:
        raise NotTrusted(
            f"Opening the model left {strange[:3] or 'another model'} in its bundle.", todo="Do not use this model."
        )


def main(folder: Path) -> int:
    """The child: open, ask, compile, fill; 0 when it is done, 3 when it is refused."""
    asked = msgspec.json.decode((folder / "request.json").read_bytes(), type=ImportRequest)
    try:
        fitted = _opened(asked)
        example = _as_fitted(fitted, pl.read_ipc(asked.example))
        holdout = _as_fitted(fitted, pl.read_ipc(asked.holdout)) if asked.holdout else None
        registration = registration_of(asked.model, fitted, example, asked.target, holdout, asked.who)
        filled = fill(Draft(Path(asked.draft)), registration, utc_now)
    except HeadraceError as error:
        (folder / "error.json").write_bytes(msgspec.json.encode(error.document()))
        return FAILED
    (folder / "filled.json").write_bytes(msgspec.json.encode(filled))
    return 0


def _opened(asked: ImportRequest) -> Any:
    path = Path(asked.file)
    content = path.read_bytes()
    try:
        match asked.kind:
            case "pickle" if asked.python_function:
                return PythonFunction(_unpickled(path, content), asked.artifacts, asked.config)
            case "pickle":
                return _unpickled(path, content)
            case "skops":
                return _skops(content, asked.trusted)
            case "onnx":
                return content
            case "lightgbm":
                return stored.load_lightgbm(content)
            case "xgboost":
                return opened_xgboost(content)
        return stored.load_catboost(content, classes=True)
    except HeadraceError:
        raise
    except ImportError as error:
        package = str(error.name or error).split(".")[0]
        raise MissingExtra(
            f"{path.name} needs the package {package!r}, which is not installed.", todo=f"pip install {package}"
        ) from error
    except Exception as error:
        raise InvalidInput(
            f"{path.name} could not be opened as {asked.kind}: {type(error).__name__}: {error}.",
            expected="a fitted model, whole",
            todo="Save the model again, with the libraries that are installed here.",
        ) from error


def _unpickled(path: Path, content: bytes) -> Any:
    try:
        import joblib
    except ImportError:
        return pickle.loads(content)  # noqa: S301 - the operator gave their word, and there is no network here
    return joblib.load(path)


def _skops(content: bytes, trusted: bool) -> Any:
    import skops.io

    if trusted:
        return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    return stored.load_skops(content)


def _as_fitted(fitted: Any, frame: Any) -> Any:
    """The example as the kind of frame that scikit-learn was most likely fitted with."""
    if feature_names(fitted) is None and not isinstance(fitted, PythonFunction):
        return frame
    import pandas as pd

    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)
