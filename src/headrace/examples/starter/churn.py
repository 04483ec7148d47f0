"""Plain functions: `load` gives a table, `train` gives anything that predicts. Put your own in their place."""

import random

import polars as pl


def load() -> pl.DataFrame:
    """A table to begin with: who leaves calls often and came lately."""
    chance = random.Random(1)
    rows = []
    for customer in range(2000):
        months, calls = chance.randint(1, 60), chance.randint(0, 9)
        plan = chance.choice(["basic", "plus", "pro"])
        leaves = calls * 8 - months + (10 if plan == "basic" else 0) + chance.gauss(0, 8) > 0
        rows.append({"customer": customer, "plan": plan, "months": months, "calls": calls, "churned": leaves})
    return pl.DataFrame(rows)


class ByGroup:
    """The share of leavers among the like: same plan, similar number of calls and months."""

    def __init__(self, frame: pl.DataFrame, smoothing: float) -> None:
        self.classes_ = [False, True]
        self.overall = frame["churned"].mean()
        grouped = frame.group_by(self._group(frame)).agg(pl.col("churned").sum().alias("left"), pl.len().alias("all"))
        share = (grouped["left"] + smoothing * self.overall) / (grouped["all"] + smoothing)
        self.shares = dict(zip(grouped["group"].to_list(), share.to_list()))

    @staticmethod
    def _group(frame: pl.DataFrame) -> pl.Series:
        text = pl.format("{}/{}/{}", "plan", pl.col("calls") // 2, pl.col("months") // 12)
        return frame.select(text.alias("group")).to_series()

    def predict_proba(self, frame: pl.DataFrame) -> list[list[float]]:
        shares = [self.shares.get(group, self.overall) for group in self._group(frame)]
        return [[1 - share, share] for share in shares]

    def predict(self, frame: pl.DataFrame) -> list[bool]:
        return [share > 0.5 for _, share in self.predict_proba(frame)]


def train(frame: pl.DataFrame, smoothing: float) -> ByGroup:
    """Fit on the training rows."""
    return ByGroup(frame, smoothing)


def shares_add_up(predict, frame: pl.DataFrame) -> None:
    """A test of a version: `predict` gives its answers to rows that it has not seen."""
    answers = predict(frame.drop("churned"))
    total = answers["probability.false"] + answers["probability.true"]
    assert ((total - 1).abs() < 1e-9).all(), f"shares add up to {total.min()} at the least"
