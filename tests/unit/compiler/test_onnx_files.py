"""ONNX files as they come: served with their own types, refused where they reach outside or ask for too much."""

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace.compiler.onnx_files import check_onnx
from headrace.kernel.errors import InvalidInput, NotTrusted

RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(RANDOM.normal(size=(300, 3)).astype(np.float32), columns=list("abc"))
WEIGHTS = np.array([[1.0, -1.0], [0.5, -0.5], [0.25, -0.25]], dtype=np.float32)


def model(nodes, inputs, outputs, constants=(), **options):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    options.setdefault("opset_imports", [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
    return helper.make_model(graph, ir_version=8, **options)


def softmax_model(batch=None, kind=TensorProto.FLOAT):
    weights = numpy_helper.from_array(WEIGHTS, "w")
    return model(
        [
            helper.make_node("MatMul", ["x", "w"], ["s"]),
            helper.make_node("Softmax", ["s"], ["p"], axis=1),
            helper.make_node("ArgMax", ["s"], ["label"], axis=1, keepdims=0),
        ],
        [helper.make_tensor_value_info("x", kind, [batch, 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [batch]),
            helper.make_tensor_value_info("p", TensorProto.FLOAT, [batch, 2]),
        ],
        [weights],
    )


def expected(frame):
    scores = frame.to_numpy() @ WEIGHTS
    return scores.argmax(axis=1)


@pytest.mark.parametrize("batch", [None, 1], ids=["any number", "one at a time"])
def test_labels_and_probabilities(ws, batch):
    version = ws.register("m", softmax_model(batch).SerializeToString(), example=TABLE)
    assert (version.runtime, version.task) == ("graph", "binary")
    assert version.certificate.passed, version.certificate.failures
    answers = ws.predict("m", TABLE)
    assert answers["prediction"].to_list() == expected(TABLE).tolist()
    assert answers.columns == ["prediction", "probability.0", "probability.1"]
    shares = answers["probability.0"].to_numpy()
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-2 * (TABLE.to_numpy() @ WEIGHTS)[:, 0])), rtol=1e-5)
    assert not list((ws.places.bundles / version.digest).rglob("*.pkl"))


def test_a_file_and_the_command_line(ws, run_headrace, tmp_path):
    onnx.save(softmax_model(), tmp_path / "m.onnx")
    pl.from_dicts(TABLE.to_dict("records")).write_csv(tmp_path / "rows.csv")
    done = run_headrace(
        "register",
        "m",
        str(tmp_path / "m.onnx"),
        "--example",
        str(tmp_path / "rows.csv"),
        "--workspace",
        str(ws.places.root),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert ws.version("m@1").certificate.passed


def test_an_input_for_each_column_with_its_own_type(ws):
    made = model(
        [
            helper.make_node("Cast", ["n"], ["nf"], to=TensorProto.DOUBLE),
            helper.make_node("Equal", ["s", "late"], ["is"]),
            helper.make_node("Cast", ["is"], ["sf"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["nf", "sf"], ["t"]),
            helper.make_node("Add", ["t", "d"], ["y"]),
        ],
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, [None, 1]),
            helper.make_tensor_value_info("s", TensorProto.STRING, [None, 1]),
            helper.make_tensor_value_info("d", TensorProto.DOUBLE, [None, 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, 1])],
        [numpy_helper.from_array(np.array(["late"], dtype=object), "late")],
        opset_imports=[helper.make_opsetid("", 19)],
    )
    table = pl.DataFrame({"d": [0.5, 1.5, 2.5], "n": [1, 2, 3], "s": ["late", "early", "late"]})
    version = ws.register("m", made, example=table)
    assert version.certificate.passed, version.certificate.failures
    assert ws.predict("m", table)["prediction"].to_list() == [2.5, 3.5, 6.5]
    with pytest.raises(InvalidInput, match="null"):
        ws.predict("m", [{"d": 0.5, "n": None, "s": "late"}])


def external():
    made = softmax_model()
    tensor = made.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return made


def foreign():
    made = softmax_model()
    made.graph.node[0].domain = "com.evil"
    made.opset_import.append(helper.make_opsetid("com.evil", 1))
    return made


def own_function():
    made = softmax_model()
    body = [helper.make_node("Neg", ["i"], ["o"])]
    made.functions.append(helper.make_function("local", "F", ["i"], ["o"], body, [helper.make_opsetid("", 17)]))
    return made


def absurd():
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], dtype=np.int64), "shape")
    return model(
        [helper.make_node("ConstantOfShape", ["shape"], ["huge"]), helper.make_node("ReduceSum", ["huge"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [shape],
    )


def declared_huge():
    made = softmax_model()
    made.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    return made


def external_and_sparse():
    values = numpy_helper.from_array(np.array([1.0], dtype=np.float32), "v")
    values.data_location = TensorProto.EXTERNAL
    entry = values.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0]), "i"), [3])
    made = softmax_model()
    made.graph.node.append(helper.make_node("Constant", [], ["k"], sparse_value=sparse))
    return made


def by_chance():
    made = softmax_model()
    made.graph.node.append(helper.make_node("RandomNormal", [], ["r"], shape=[30_000, 30_000]))
    return made


def hidden_in_a_branch():
    made = foreign()
    inner = helper.make_graph(
        [helper.make_node("Bad", [], ["b"], domain="com.evil")],
        "inner",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
    )
    made = softmax_model()
    made.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    return made


@pytest.mark.parametrize(
    "make",
    [external, external_and_sparse, foreign, own_function, by_chance, absurd, declared_huge, hidden_in_a_branch],
    ids=lambda f: f.__name__,
)
def test_what_may_not_be_in_a_file(make, ws):
    content = make().SerializeToString()
    if make is not absurd:
        with pytest.raises(NotTrusted):
            check_onnx(content)
    with pytest.raises(NotTrusted):
        ws.register("m", content, example=TABLE)
    assert ws.models() == []


def test_what_is_no_model(ws, tmp_path):
    with pytest.raises(InvalidInput, match="not ONNX"):
        ws.register("m", b"garbage" * 40, example=TABLE)
    with pytest.raises(InvalidInput, match=r"There is no file"):
        ws.register("m", tmp_path / "absent.onnx", example=TABLE)
    with pytest.raises(InvalidInput, match="has 3 columns"):
        ws.register("m", softmax_model().SerializeToString(), example=TABLE[["a", "b"]])


def test_probabilities_by_name_stand_under_their_names(ws):
    made = model(
        [
            helper.make_node("Softmax", ["x"], ["p"], axis=1),
            helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_strings=["yes", "no", "hm"]),
            helper.make_node("ArgMax", ["x"], ["a"], axis=1, keepdims=0),
            helper.make_node(
                "LabelEncoder",
                ["a"],
                ["label"],
                domain="ai.onnx.ml",
                keys_int64s=[0, 1, 2],
                values_strings=["yes", "no", "hm"],
            ),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
            helper.make_value_info(
                "m",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            ),
        ],
    )
    ws.register("m", made, example=TABLE)
    answers = ws.predict("m", TABLE)
    best = [max(("yes", "no", "hm"), key=lambda c: row[f"probability.{c}"]) for row in answers.to_dicts()]
    assert best == answers["prediction"].to_list()


def test_what_cannot_be_fed_is_refused_by_name(ws):
    made = model(
        [helper.make_node("Cast", ["n"], ["y"], to=TensorProto.FLOAT)],
        [helper.make_tensor_value_info("n", TensorProto.INT8, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        opset_imports=[helper.make_opsetid("", 17)],
    )
    ws.register("m", made, example=pl.DataFrame({"n": [1.0, 2.0]}))
    for value in (3.6, 300.0):
        with pytest.raises(InvalidInput) as raised:
            ws.predict("m", [{"n": value}])
        assert raised.value.field == "n"
