"""The graph runtime: nothing is unpickled, memory stays small, threads and chunks change no bit."""

import json
import math
import subprocess
import sys

import msgspec
import numpy as np
import pandas as pd
import pytest
from tests.contracts.agreement import compiled_scorer

from headrace.kernel.ports import Coded
from headrace.runtimes.bundle import GRAPH, PLAN
from headrace.runtimes.encoding import Encoding
from headrace.runtimes.graph import GraphScorer
from headrace.runtimes.link import Linked
from headrace.runtimes.plan import Link, Plan

ensemble = pytest.importorskip("sklearn.ensemble")
RANDOM = np.random.default_rng(2)
TABLE = pd.DataFrame(RANDOM.normal(size=(2_000, 4)), columns=list("abcd")).assign(
    s=RANDOM.choice(["x", "y", "z"], 2_000)
)
TABLE.loc[::9, "a"] = np.nan
Y = (TABLE["b"] > 0) ^ (TABLE["s"] == "x")

LOAD = """
import pickle, sys, json
def never(*_, **__): raise SystemExit("unpickled")
pickle.loads = pickle.load = pickle.Unpickler = never
from pathlib import Path
from headrace.runtimes.opening import open_bundle
scorer = open_bundle(Path(sys.argv[1]), sys.argv[2])
print(json.dumps([scorer.runtime, scorer.answer({"a": [0.5], "b": [1.0], "c": [0.0], "d": [2.0], "s": ["x"]}, 1).predictions]))
print(sorted({"sklearn", "pandas", "polars", "cloudpickle", "onnx"} & set(sys.modules)))
"""


def pipeline():
    compose = pytest.importorskip("sklearn.compose")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    made = compose.make_column_transformer(
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["s"]),
        (preprocessing.StandardScaler(), ["a", "b"]),
        remainder="passthrough",
        sparse_threshold=0,
    )
    from sklearn.pipeline import make_pipeline

    return make_pipeline(made, ensemble.HistGradientBoostingClassifier(max_iter=30)).fit(TABLE, Y)


@pytest.fixture(scope="module")
def fitted():
    return pipeline()


@pytest.fixture(scope="module")
def graph(fitted):
    return compiled_scorer(fitted, TABLE)[0]


def columns(rows: int) -> dict[str, list]:
    part = TABLE[:rows]
    return {n: [None if v != v else v for v in part[n].tolist()] for n in TABLE.columns}


def test_serving_a_compiled_version_unpickles_nothing_and_needs_no_library_of_its_model(ws, fitted):
    version = ws.register("m", fitted, example=TABLE)
    assert version.runtime == "graph" and version.uncompiled == "" and version.certificate.passed
    folder = ws.places.bundles / version.digest
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), version.digest],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, loaded = done.stdout.splitlines()
    assert json.loads(answer)[0] == "graph"
    assert loaded == "[]"


def test_a_folded_scaler_leaves_one_operator(graph, fitted):
    import onnx

    schema = graph.schema
    from headrace.compiler.compiling import compile_fitted

    model = onnx.load_from_string(compile_fitted(fitted, schema, graph.task, graph.classes).graph)
    assert [node.op_type for node in model.graph.node if node.op_type != "Identity"] == ["TreeEnsemble"]


def test_chunks_and_threads_change_no_bit(graph):
    rows = columns(2_000)
    repeated = {name: values * 12 for name, values in rows.items()}
    whole = graph.arrays(repeated, 24_000)
    graph._threads = 2
    both = graph.arrays(repeated, 24_000)
    graph._threads = 1
    alone = graph.answer({name: values[7:8] for name, values in rows.items()}, 1)
    assert whole.probabilities.tobytes() == both.probabilities.tobytes()
    assert alone.probabilities[0] == whole.probabilities[7].tolist() == whole.probabilities[2_007].tolist()
    assert alone.predictions[0] == whole.predictions[7]


def test_coded_texts_are_texts(graph):
    rows = columns(50)
    known = [None, "x", "y", "z", "never"]
    coded = Coded(np.array([known.index(v) for v in rows["s"]]), known)
    assert graph.answer({**rows, "s": coded}, 50) == graph.answer(rows, 50)
    assert list(coded[3:5]) == rows["s"][3:5] and len(coded) == 50 and coded[0] == rows["s"][0]


def test_the_plan_is_json_with_test_vectors(ws, fitted):
    version = ws.register("m", fitted, example=TABLE)
    text = (ws.places.bundles / version.digest / PLAN).read_bytes()
    plan = msgspec.json.decode(text, type=Plan)
    assert len(plan.vectors) >= 10
    encoding = Encoding(plan.encoders)
    for vector in plan.vectors:
        found = encoding.encode({name: [value] for name, value in vector.row.items()}, 1)[0].tolist()
        assert [None if v != v else v for v in found] == list(vector.encoded)


@pytest.mark.parametrize(
    ("link", "scores"),
    [
        (Link("logistic", "positive"), [[0.0], [1e-17], [-800.0], [800.0], [3.25]]),
        (Link("logistic", "majority"), [[0.0], [1e-17], [-800.0], [800.0], [3.25]]),
        (Link("logistic", "nonnegative"), [[0.0], [-0.0], [-1e-300], [5.0], [-5.0]]),
    ],
)
def test_one_row_and_many_are_linked_alike(link, scores):
    linked = Linked(link, ("no", "yes"))
    many = linked.answers(np.array(scores))
    for row, score in enumerate(scores):
        one = linked.answers(np.array([score]))
        assert one.predictions[0] == many.predictions[row]
        assert one.probabilities[0] == many.probabilities[row]


def test_links_are_the_c_library_s():
    softmax = Linked(Link("softmax", "argmax"), (1, 2, 3)).answers(np.array([[1.0, 2.0, 3.0]]))
    powers = [math.exp(v - 3.0) for v in (1.0, 2.0, 3.0)]
    assert softmax.probabilities == [[p / (powers[0] + powers[1] + powers[2]) for p in powers]]
    assert Linked(Link("exp", "value"), ()).answers(np.array([[1.5], [1e4]])).predictions == [math.exp(1.5), math.inf]
    assert Linked(Link("identity", "value", whole=True), ()).answers(np.array([[2.0]])).predictions == [2]
    each = Linked(Link("none", "each", labels=(("a", "b"), (1, 2))), ()).answers(np.array([[1.0, 0.0]]))
    assert each.predictions == [["b", 1]]


MEMORY = """
import sys
from pathlib import Path
from headrace.runtimes.opening import open_bundle
from headrace.runtimes.graph import _give_back_memory
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024
open_bundle(Path(sys.argv[1]), sys.argv[2])
_give_back_memory()
before = resident()
kept = open_bundle(Path(sys.argv[3]), sys.argv[4])
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_graph_costs_at_most_three_times_its_file(ws):
    numbers = TABLE[["b", "c", "d"]]
    small = ws.register(
        "small", ensemble.RandomForestRegressor(2, max_depth=3).fit(numbers, TABLE["b"]), example=numbers
    )
    random = np.random.default_rng(0)
    wide = pd.DataFrame(random.normal(size=(12_000, 4)), columns=list("abcd"))
    forest = ensemble.RandomForestRegressor(30, n_jobs=1).fit(wide, random.normal(size=12_000))
    large = ws.register("large", forest, example=wide[:500])
    assert large.runtime == "graph" and large.certificate.passed, large.uncompiled or large.certificate.failures
    folders = [str(part) for v in (small, large) for part in (ws.places.bundles / v.digest, v.digest)]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *folders], capture_output=True, text=True, timeout=60, check=True
    )
    file = (ws.places.bundles / large.digest / GRAPH).stat().st_size
    assert file > 4 << 20
    assert int(done.stdout) <= 3 * file, (int(done.stdout), file)


def test_a_flat_graph_that_cannot_be_read_leaves_the_other(graph, fitted, tmp_path):
    from headrace.compiler.compiling import compile_fitted
    from headrace.runtimes.graph import load_graph

    compiled = compile_fitted(fitted, graph.schema, graph.task, graph.classes)
    (tmp_path / "compiled").mkdir()
    (tmp_path / PLAN).write_bytes(msgspec.json.encode(compiled.plan))
    (tmp_path / GRAPH).write_bytes(compiled.graph)
    (tmp_path / "compiled" / "graph.ort").write_bytes(b"not a graph")
    scorer = load_graph(tmp_path, graph.schema, graph.task, graph.classes)
    assert isinstance(scorer, GraphScorer)
    assert scorer.answer(columns(3), 3) == graph.answer(columns(3), 3)
