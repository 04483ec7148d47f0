"""Vectorizers of text: terms are counted by the encoding, weights are the graph's."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.compiler.converting import converts
from headrace.compiler.table import Raw, Table, slots
from headrace.compiler.tensor import Tensor
from headrace.compiler.uncompiled import NotCompiled
from headrace.runtimes.plan import Words


@converts("sklearn.CountVectorizer", takes="table")
def count_vectorizer(step: Any, table: Table) -> Table:
    """How often each term of the vocabulary occurs."""
    return slots(table.source, _counts(step, table))


@converts("sklearn.TfidfVectorizer", takes="table")
def tfidf_vectorizer(step: Any, table: Table) -> Table:
    """The counts, weighed."""
    out = tfidf_transformer(step._tfidf, _counts(step, table))
    out.dtype = np.dtype(step.dtype)
    return slots(table.source, out)


@converts("sklearn.TfidfTransformer")
def tfidf_transformer(step: Any, x: Tensor) -> Tensor:
    """Counts times the inverse document frequency, over the norm of the row."""
    x.require_finite()
    if step.sublinear_tf:
        absent = x.equals(0.0)
        x = absent.where(0.0, absent.where(1.0, x).log() + 1.0)
    if step.use_idf:
        x = x * np.asarray(step.idf_)
    if step.norm is None:
        return x
    size = x.absolute().total() if step.norm == "l1" else (x * x).total().sqrt()
    return x / size.equals(0.0).where(1.0, size)


def _counts(step: Any, table: Table) -> Tensor:
    (cell,) = table.cells if table.width == 1 else (None,)
    if not isinstance(cell, Raw) or cell.column.type != "string":
        raise NotCompiled("it is not given one column of the request that holds texts")
    own = [name for name in ("preprocessor", "tokenizer") if getattr(step, name) is not None]
    if own or callable(step.analyzer) or callable(step.strip_accents) or step.input != "content":
        raise NotCompiled("it has a preprocessor, tokenizer, analyzer or input of its own")
    vocabulary = {term: int(place) for term, place in step.vocabulary_.items()}
    words = Words(
        column=cell.column.name,
        vocabulary=vocabulary,
        analyzer=step.analyzer,
        pattern=step.token_pattern or r"(?u)\b\w\w+\b",
        lowercase=bool(step.lowercase),
        strip=step.strip_accents or "",
        stop=tuple(sorted(step.get_stop_words() or ())) if step.analyzer == "word" else (),
        shortest=int(step.ngram_range[0]),
        longest=int(step.ngram_range[1]),
        binary=bool(step.binary),
        refuses_null="a text is needed",
    )
    tensor = table.source.read(table.source.words_places(words))
    tensor.finite = True
    table.source.graph.row_bytes = max(table.source.graph.row_bytes, 32 * tensor.width)
    return tensor
