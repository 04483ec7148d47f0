"""How records show themselves in a notebook: small HTML tables, every value escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.kernel.records import Certificate, Version


def version_html(version: Version) -> str:
    """A version as a table of facts, its metrics and its certificate."""
    facts = [
        ("aliases", ", ".join(version.aliases) or "none"),
        ("runtime", version.runtime),
        ("digest", version.digest[:16]),
        ("gate", "none" if version.gate is None else "passed" if version.gate.passed else "not passed"),
        ("run", version.lineage.run),
        ("snapshot", version.lineage.snapshot[:16] or "none"),
        ("made", f"{version.created:%Y-%m-%d %H:%M} UTC by {version.created_by}"),
    ]
    metrics = [
        (name, f"{m.value:.4f} ({m.low:.4f} to {m.high:.4f}, {m.rows} rows)") for name, m in version.metrics.items()
    ]
    certificate = certificate_html(version.certificate) if version.certificate else "<p>no certificate</p>"
    return f"<h4>{escape(version.reference)}</h4>{_table(facts + metrics)}{certificate}"


def certificate_html(certificate: Certificate) -> str:
    """A certificate as a table: a row for each form and batch size."""
    rows = [
        (
            f"{form.form}, {form.batch_size} at a time",
            f"{form.level}: max |Δ| {form.max_difference:.3g}, {form.flipped} decisions flipped",
        )
        for form in certificate.forms
    ]
    word = "passed" if certificate.passed else "NOT passed"
    return f"<p>certificate {word}, {certificate.rows} golden rows</p>{_table(rows)}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
