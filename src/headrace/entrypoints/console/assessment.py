"""An assessment of data as a page of its own, that needs nothing else."""

from __future__ import annotations

from html import escape
from pathlib import Path

from headrace.entrypoints.console.charts import Line, line_chart
from headrace.kernel.records import Assessment

STYLE = Path(__file__).with_name("static") / "style.css"


def assessment_page(it: Assessment) -> str:
    """The verdict, the learning curve, the balance and what is suspicious."""
    labels = [f"{point.rows:,}" for point in it.curve]
    scores = [point.score for point in it.curve]
    lines = [
        Line("trees", [score.value for score in scores]),
        Line("95 % interval", [score.low for score in scores], dashed=True, colour=0),
        Line("", [score.high for score in scores], dashed=True, colour=0),
        Line("linear, all rows", [it.linear.value] * len(labels), colour=1),
        Line("constant", [it.constant.value] * len(labels), colour=2),
    ]
    chart = line_chart(labels, lines, title=f"{it.metric} on {it.held_out:,} rows held out, by rows trained on")
    said = "".join(f"<p><strong>{escape(sentence)}</strong></p>" for sentence in it.verdict)
    suspects = "".join(f"<li>{escape(one.column)}: {escape(one.why)}</li>" for one in it.suspects) or "<li>none</li>"
    balance = "".join(f"<li>{escape(name)}: {share:.1%}</li>" for name, share in it.balance.items())
    title = f"Is this data enough for {it.target}?"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE.read_text()}</style><main><h1>{escape(title)}</h1>{said}{chart}"
        f"<p>{it.rows:,} rows; {it.duplicates:,} of them stand there more than once; {it.contradictions:,} have "
        f"the features of others and another {escape(it.target)}.</p><h2>Suspects</h2><ul>{suspects}</ul>"
        f"{f'<h2>Balance</h2><ul>{balance}</ul>' if balance else ''}</main></html>"
    )
