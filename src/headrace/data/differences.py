"""What differs between two states of a table: rows, cells, order, columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from headrace.kernel.records import Record

SHOWN = 10
_PLACE = "_place"


class TableDifference(Record, frozen=True, kw_only=True):
    """From one table to another: `examples` names the first rows that were added, removed or changed.

    `reordered` where both hold the same rows in another order. `columns` says which were added, removed or changed.
    """

    same: bool
    added: int = 0
    removed: int = 0
    changed: int = 0
    reordered: bool = False
    columns: tuple[str, ...] = ()
    cells: dict[str, int] = {}
    examples: tuple[str, ...] = ()

    def text(self) -> str:
        """In one line."""
        if self.same:
            return "the same rows"
        if self.reordered:
            return "the same rows in another order"
        counts = ((self.added, "added"), (self.removed, "removed"), (self.changed, "changed"))
        parts = [f"{count:,} rows {what}" for count, what in counts if count]
        return "; ".join([*self.columns, *parts, *self.examples[:3]])


def row_digests(frame: pl.DataFrame) -> np.ndarray:
    """A number of 64 bits for each of n rows, shape (n,): other content gives another number but for chance.

    Numbers and moments go in by their bits, texts by the first 8 bytes of their BLAKE2b; columns are mixed by the
    finaliser of SplitMix64 (Steele, Lea and Flood, 2014), each with the digest of its own name.
    """
    total = np.zeros(frame.height, dtype=np.uint64)
    for series in frame:
        salt = np.uint64(_text_digest(f"{series.name}\0{series.dtype}"))
        total += _mixed(_words(series) ^ salt)
    return _mixed(total)


def _mixed(words: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return words ^ (words >> np.uint64(31))


def _words(series: pl.Series) -> np.ndarray:
    null = series.is_null().to_numpy()
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        texts = series.cast(pl.String).fill_null("")
        known = texts.unique()
        digests = pl.Series([_text_digest(text) for text in known], dtype=pl.UInt64)
        words = texts.replace_strict(known, digests, return_dtype=pl.UInt64).to_numpy()
    else:
        plain = series.cast(pl.Int8) if series.dtype == pl.Boolean else series.to_physical()
        numbers = plain.fill_null(0).to_numpy()
        wide = numbers.astype(np.float64 if numbers.dtype.kind == "f" else np.int64)
        words = np.ascontiguousarray(wide).view(np.uint64)
    return np.where(null, np.uint64(0x6E756C6C), words)


def _text_digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def compare_tables(first: pl.DataFrame, second: pl.DataFrame, keys: Sequence[str] = ()) -> TableDifference:
    """What must be done to `first` to get `second`; rows are the same where their `keys` are, else by their content."""
    columns = _columns(first, second)
    if not columns and first.height == second.height:
        ours, theirs = row_digests(first), row_digests(second)
        if np.array_equal(ours, theirs):
            return TableDifference(same=True)
        if np.array_equal(np.sort(ours), np.sort(theirs)):
            return TableDifference(same=False, reordered=True, examples=(_moved(first, ours, theirs),))
    shared = [name for name in first.columns if name in second.columns and first[name].dtype == second[name].dtype]
    known = [key for key in keys if key in shared]
    unique = bool(known) and not (
        first.select(known).is_duplicated().any() or second.select(known).is_duplicated().any()
    )
    if unique:
        return _by_key(first.select(shared), second.select(shared), known, columns)
    return _by_content(first.select(shared), second.select(shared), columns)


def changed_rows(before: np.ndarray, after: np.ndarray) -> list[int]:
    """The places, from 0, at which the digests of rows differ, as far as both go; then one past the shorter."""
    common = min(len(before), len(after))
    places = np.flatnonzero(before[:common] != after[:common])[:SHOWN].tolist()
    return places if places or len(before) == len(after) else [common]


def _columns(first: pl.DataFrame, second: pl.DataFrame) -> tuple[str, ...]:
    said = [f"column {name!r} removed" for name in first.columns if name not in second.columns]
    said += [f"column {name!r} added" for name in second.columns if name not in first.columns]
    both = [name for name in first.columns if name in second.columns]
    said += [
        f"column {name!r} is {second[name].dtype}, was {first[name].dtype}"
        for name in both
        if first[name].dtype != second[name].dtype
    ]
    if not said and first.columns != second.columns:
        said.append("the columns are in another order")
    return tuple(said)


def _moved(frame: pl.DataFrame, ours: np.ndarray, theirs: np.ndarray) -> str:
    place = int(np.flatnonzero(ours != theirs)[0])
    return f"from row {place} on: {_shown(frame.row(place, named=True))}"


def _by_key(first: pl.DataFrame, second: pl.DataFrame, keys: list[str], columns: tuple[str, ...]) -> TableDifference:
    added = second.join(first, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    removed = first.join(second, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    both = first.join(second, on=keys, how="inner", nulls_equal=True, suffix="\0", maintain_order="left")
    values = [name for name in first.columns if name not in keys]
    unequal = {name: ~_equal(both[name], both[f"{name}\0"]) for name in values}
    cells = {name: int(mask.sum()) for name, mask in unequal.items() if mask.any()}
    changed = (
        pl.select(pl.any_horizontal([mask.alias(n) for n, mask in unequal.items()])).to_series() if unequal else None
    )
    examples = [f"added {_shown(row)}" for row in added.select(keys).head(SHOWN).iter_rows(named=True)]
    examples += [f"removed {_shown(row)}" for row in removed.select(keys).head(SHOWN).iter_rows(named=True)]
    for name in cells:
        row = both.row(unequal[name].arg_max() or 0, named=True)
        key = _shown({k: row[k] for k in keys})
        examples.append(f"{name} of {key} was {row[name]!r} and is {row[name + chr(0)]!r}")
    count = int(changed.sum()) if changed is not None else 0
    nothing = not (added.height or removed.height or count or columns)
    return TableDifference(
        same=False,
        added=added.height,
        removed=removed.height,
        changed=count,
        reordered=nothing,
        columns=columns,
        cells=cells,
        examples=tuple(examples[: 3 * SHOWN]),
    )


def _equal(first: pl.Series, second: pl.Series) -> pl.Series:
    return first.eq_missing(second.alias(first.name))


def _by_content(first: pl.DataFrame, second: pl.DataFrame, columns: tuple[str, ...]) -> TableDifference:
    """Without keys: the same number of rows is compared place by place, another number as bags of rows."""
    ours, theirs = row_digests(first), row_digests(second)
    if first.height == second.height:
        unequal = {name: ~_equal(first[name], second[name]) for name in first.columns}
        cells = {name: int(mask.sum()) for name, mask in unequal.items() if mask.any()}
        places = {name: unequal[name].arg_max() or 0 for name in cells}
        examples = [f"{n} of row {i} was {first[n][i]!r} and is {second[n][i]!r}" for n, i in places.items()]
        changed = int((ours != theirs).sum())
        return TableDifference(same=False, changed=changed, columns=columns, cells=cells, examples=tuple(examples))
    added, removed = _extra(second, theirs, ours), _extra(first, ours, theirs)
    examples = [f"added row {i}: {_shown(second.row(i, named=True))}" for i in added[:SHOWN]]
    examples += [f"removed row {i}: {_shown(first.row(i, named=True))}" for i in removed[:SHOWN]]
    return TableDifference(
        same=False, added=len(added), removed=len(removed), columns=columns, examples=tuple(examples)
    )


def _extra(frame: pl.DataFrame, own: np.ndarray, other: np.ndarray) -> list[int]:
    """The places of rows that are oftener in one table than in the other."""
    counted = pl.DataFrame({"d": own, _PLACE: np.arange(frame.height)}).with_columns(
        nth=pl.int_range(pl.len()).over("d")
    )
    known = pl.DataFrame({"d": other}).group_by("d").len()
    kept = counted.join(known, on="d", how="left").filter(pl.col("nth") >= pl.col("len").fill_null(0))
    return kept.sort(_PLACE)[_PLACE].to_list()


def _shown(row: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in list(row.items())[:6])
