"""The documentation page of a scoring server: each model's fields, a request to try, and lines for every client.

It is one file without anything from elsewhere, so it works where there is no internet.
"""

from __future__ import annotations

import html
import json
from typing import Any

from headrace.kernel.schema import Column, describe_type, example_row
from headrace.serving.describing import asks, described, example
from headrace.serving.endpoints import Facts, State

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a2b3c}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #d5dde5;padding:.3rem .6rem;text-align:left}
pre,textarea{background:#f3f6f9;padding:.7rem;overflow:auto;width:100%;box-sizing:border-box;font:14px monospace}
button{font:inherit;padding:.3rem 1.2rem}h2{margin-top:2.5rem}"""
_SCRIPT = """document.querySelectorAll("form").forEach(f=>f.onsubmit=async e=>{e.preventDefault();
const headers={"content-type":"application/json"},key=f.key.value;if(key)headers.authorization="Bearer "+key;
const r=await fetch(f.dataset.path,{method:"POST",headers,body:f.rows.value});
f.nextElementSibling.textContent=r.status+"\\n"+JSON.stringify(JSON.parse(await r.text()),null,1)})"""
_LINES = {
    "native": ("The native form", "/models/{model}/predict"),
    "invocations": ("MLflow, SageMaker, Vertex AI", "/models/{model}/invocations"),
    "open-inference": ("Open Inference Protocol v2 (KServe, Triton)", "/v2/models/{model}/infer"),
    "tensorflow": ("TensorFlow Serving", "/v1/models/{model}:predict"),
}


def handbook(state: State) -> bytes:
    """The page, in HTML."""
    parts = [_model(model, state.active[model].live.version, facts) for model, facts in described(state).items()]
    body = "".join(parts) or "<p>No model is live yet.</p>"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Headrace scoring</title><style>{_STYLE}</style>"
        f"<h1>What answers here</h1><p>The same as an <a href='/openapi.json'>OpenAPI document</a>.</p>{body}"
        f"<script>{_SCRIPT}</script></html>"
    ).encode()


def _model(model: str, version: int, facts: Facts) -> str:
    fields = "".join(_field(column) for column in facts.schema.asked)
    request = json.dumps({"rows": [example_row(facts.schema)]}, indent=1)
    lines = "".join(_line(dialect, model, facts) for dialect in _LINES)
    classes = f"<p>Classes: {html.escape(', '.join(facts.class_names))}.</p>" if facts.class_names else ""
    return (
        f"<h2>{html.escape(model)}@{version}</h2><p>{html.escape(facts.task)}</p>{classes}"
        f"<table><tr><th>field</th><th>type</th><th>seen in training</th><th>description</th></tr>{fields}</table>"
        f"<form data-path='/models/{html.escape(model)}/predict'><p><label>A request<textarea name='rows' rows='8'>"
        f"{html.escape(request)}</textarea></label></p><p><label>Key, where one is needed <input name='key' "
        f"type='password' autocomplete='off'></label> <button>Send</button></p></form><pre></pre>"
        f"<details><summary>Lines for every client</summary>{lines}</details>"
    )


def _field(column: Column) -> str:
    seen = ", ".join(column.categories) if column.categories is not None else _range(column)
    note = " ".join(part for part in (column.description, f"({column.unit})" if column.unit else "") if part)
    role = "" if column.role == "feature" else f" ({column.role}, optional)"
    cells = (column.name, describe_type(column) + role, seen[:300], note)
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _range(column: Column) -> str:
    return "" if column.minimum is None else f"{column.minimum:g} to {column.maximum:g}"


def _line(dialect: str, model: str, facts: Facts) -> str:
    title, template = _LINES[dialect]
    content: Any = asks(dialect, model, facts)["application/json"]["example"]
    body = json.dumps(content if dialect != "native" else {"rows": [example(facts)]}).replace("'", "\\u0027")
    path = template.replace("{model}", model)
    line = f"curl -H 'content-type: application/json' http://HOST{path} -d '{body}'"
    return f"<h3>{title}</h3><pre>{html.escape(line)}</pre>"
