"""Whatever is compiled can be given as one ONNX file that repeats it, or is refused with the reason."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from tests.contracts import boosters
from tests.contracts.estimators import REFUSED, fitted_case

from headrace.compiler.golden import golden_rows
from headrace.compiler.portable import portable
from headrace.compiler.portable_proof import portable_vectors, proved_portable
from headrace.compiler.proving import proved, try_compile
from headrace.data.frames import columns_of, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform
from headrace.kernel.errors import InvalidInput
from headrace.runtimes.reference import ReferenceScorer, describe_fitted

sklearn_utils = pytest.importorskip("sklearn.utils")
ESTIMATORS = {name: kind for name, kind in sklearn_utils.all_estimators() if name not in REFUSED}
UNSAID = {
    "ClassifierChain": "several classes",
    "MultiOutputClassifier": "several classes",
    "CountVectorizer": "words of the column",
    "TfidfVectorizer": "words of the column",
}
ROWS = 300


def of(case):
    """The compiled and proved form of a case, its schema, classes and golden rows; None where it is not compiled."""
    frame = case.draw(np.random.default_rng(5), ROWS)
    polars = to_polars(frame)
    schema = infer_schema(frame, polars).for_model()
    task, classes = describe_fitted(case.fitted, None)
    compiled, _ = try_compile(case.fitted, schema, task, classes)
    if compiled is None:
        return None
    example = {name: list(values) for name, values in columns_of(conform(polars, schema), schema).items()}
    reference = ReferenceScorer(case.fitted, schema, task, classes)
    golden = golden_rows(reference, example, ROWS, compiled.splits, compiled.reach)
    compiled, _ = proved(compiled, reference, golden, example, ROWS)
    return compiled and (compiled, schema, classes, golden)


def hold(case):
    made = of(case)
    if made is None:
        return
    compiled, schema, classes, golden = made
    content = portable(compiled.plan, compiled.graph, schema, classes, {"of": case.name})
    level, worst = proved_portable(content, compiled.plan, schema, golden)
    assert level in ("L1", "L2") or (compiled.plan.link.kind.endswith("32") and worst <= 1e-6)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_that_is_compiled(name):
    for classes in (2, 3):
        try:
            case = fitted_case(name, ESTIMATORS[name], classes)
        except Exception:  # some take two classes only, and some cannot be fitted alone
            continue
        if name in UNSAID:
            with pytest.raises(InvalidInput, match=UNSAID[name]):
                hold(case)
        else:
            hold(case)


@pytest.mark.parametrize("name", sorted(boosters.CASES))
@pytest.mark.filterwarnings("ignore")
def test_every_shape_of_the_boosting_libraries(name):
    pytest.importorskip(boosters.CASES[name][0])
    hold(boosters.fitted_booster(name))


@pytest.fixture(scope="module")
def encoder():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return of(fitted_case("OneHotEncoder", ESTIMATORS["OneHotEncoder"]))


def test_a_file_that_answers_otherwise_is_not_given(encoder):
    compiled, schema, classes, golden = encoder
    content = portable(compiled.plan, compiled.graph, schema, classes, {})
    model = onnx.load_model_from_string(content)
    for constant in model.graph.initializer:
        if constant.name.startswith("model/") and constant.data_type == onnx.TensorProto.DOUBLE:
            constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) + 1e-3, constant.name))
    with pytest.raises(InvalidInput, match="the file differs by up to"):
        proved_portable(model.SerializeToString(), compiled.plan, schema, golden)


def test_the_vectors_are_what_another_runtime_finds(encoder):
    compiled, schema, classes, golden = encoder
    content = portable(compiled.plan, compiled.graph, schema, classes, {})
    files = portable_vectors(content, compiled.plan, schema, golden)
    read = {name: numpy_helper.to_array(onnx.TensorProto.FromString(file)) for name, file in files.items()}
    session = onnxruntime.InferenceSession(content)
    feeds = {
        one.name: np.array([v.decode() if isinstance(v, bytes) else v for v in array.ravel()], object).reshape(-1, 1)
        for one, (name, array) in zip(session.get_inputs(), read.items(), strict=False)
        if "input" in name
    }
    found = session.run(None, feeds)
    expected = [array for name, array in read.items() if "output" in name]
    assert len(expected) == len(found) == 2
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_same_version_gives_the_same_bytes(encoder):
    compiled, schema, classes, _ = encoder
    first, second = (portable(compiled.plan, compiled.graph, schema, classes, {"a": "1"}) for _ in range(2))
    assert first == second
