"""The pipeline as the live version of a Headrace workspace: as it is, or in a class that is not compiled.

python register.py FOLDER compiled|unchanged
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from model import fit

import headrace


class Wrapped:
    """A class of the user's own around a fitted classifier, which answers as that does."""

    def __init__(self, fitted: Any) -> None:
        self.fitted = fitted
        self.classes_ = fitted.classes_

    def predict(self, frame: Any) -> np.ndarray:
        """The classifier's labels."""
        return self.fitted.predict(frame)

    def predict_proba(self, frame: Any) -> np.ndarray:
        """The classifier's probabilities."""
        return self.fitted.predict_proba(frame)


if __name__ == "__main__":
    folder, form = Path(sys.argv[1]), sys.argv[2]
    fitted, frame = fit(folder)
    workspace = headrace.open(folder / "workspace")
    made = workspace.register("model", Wrapped(fitted) if form == "unchanged" else fitted, example=frame)
    if (made.runtime == "graph") != (form == "compiled"):
        raise SystemExit(f"asked for {form}, but the runtime is {made.runtime}: {made.uncompiled}")
    workspace.promote(made.reference)
    (folder / "key").write_text(workspace.create_key("benchmark", ["predict"], p99="20ms")[1])
