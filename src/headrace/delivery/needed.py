"""What a fitted object that is not compiled needs of the packages that were there when it was registered.

Versions of a run have it recorded: what training had loaded. Of others the stored object is asked, without being
opened: a pickle names the modules of its classes and functions, a skops file too, and boosters have one library each.
"""

from __future__ import annotations

import json
import pickletools
import re
import zipfile
from importlib import metadata
from pathlib import Path

from headrace.registry.environment import Environment, with_required
from headrace.runtimes.bundle import read_schema
from headrace.runtimes.stored import CATBOOST, LIGHTGBM, PICKLE, SKOPS, XGBOOST

LIBRARIES = {LIGHTGBM: ("lightgbm",), XGBOOST: ("xgboost",), CATBOOST: ("catboost",)}
MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)*\Z")


def needed_pins(bundle: Path, environment: Environment) -> list[str]:
    """The packages that a version's image needs besides those that score, as ``name==version``."""
    names = set(environment.needed) or with_required(_distributions(_modules(bundle)))
    kept = sorted(name for name in names if name in environment.packages and name != "headrace")
    return [f"{name}=={environment.packages[name].version}" for name in kept]


def _modules(bundle: Path) -> set[str]:
    """The modules, by the first part of their names, that opening the stored object and asking it may load."""
    found = {read_schema(bundle).frame}
    for name, libraries in LIBRARIES.items():
        if (bundle / name).exists():
            found |= {*libraries, "scipy", "sklearn"}
    if (bundle / PICKLE).exists():
        found |= {name.partition(".")[0] for name in _named((bundle / PICKLE).read_bytes())}
    if (bundle / SKOPS).exists():
        with zipfile.ZipFile(bundle / SKOPS) as archive:
            text = json.dumps(json.loads(archive.read("schema.json")))
        found |= {"skops", *(name.partition(".")[0] for name in re.findall(r'"__module__": "([\w.]+)"', text))}
    return found


def _named(content: bytes) -> set[str]:
    """The texts in a pickle that could name a module: where one is named it stands there as a text."""
    texts = [str(argument) for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)]
    return {text.split(" ")[0] for text in texts if MODULE.match(text.split(" ")[0])}


def _distributions(modules: set[str]) -> set[str]:
    owners = metadata.packages_distributions()
    return {owner for module in modules for owner in owners.get(module, ())}
