"""Known ways to make a pickle run code, and the wrappings in which they come; each would leave a file behind."""

import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

COMMANDS = (
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("os", "popen"),
    ("subprocess", "call"),
    ("subprocess", "run"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("subprocess", "check_call"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
    ("pty", "spawn"),
    ("commands", "getoutput"),
    ("webbrowser", "open"),
    ("asyncio.subprocess", "create_subprocess_shell"),
    ("distutils.spawn", "spawn"),
    ("multiprocessing.util", "spawnv_passfds"),
    ("numpy.distutils.exec_command", "exec_command"),
)
CODE = (
    ("builtins", "exec"),
    ("builtins", "eval"),
    ("__builtin__", "exec"),
    ("__builtin__", "eval"),
    ("timeit", "timeit"),
    ("cProfile", "run"),
    ("profile", "run"),
    ("pdb", "run"),
    ("bdb", "Bdb.run"),
    ("trace", "Trace.run"),
    ("code", "InteractiveInterpreter.runcode"),
    ("runpy", "_run_code"),
    ("doctest", "debug_script"),
    ("idlelib.run", "Executive.runcode"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.testing", "measure"),
    ("pandas", "eval"),
    ("pandas.core.computation.eval", "eval"),
    ("torch._inductor.codecache", "compile_file"),
    ("ctypes", "CDLL"),
    ("sys", "settrace"),
    ("builtins", "breakpoint"),
    ("logging.config", "dictConfig"),
)


def tricks(sentinel: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each trick; run, it would make `sentinel`."""
    command, code = f"touch {sentinel}", f"open({str(sentinel)!r}, 'w').close()"
    for module, name in COMMANDS:
        for protocol in (0, 2, 4):
            yield f"{module}.{name}/{protocol}", called(module, name, command, protocol)
    for module, name in CODE:
        for protocol in (0, 4):
            yield f"{module}.{name}/{protocol}", called(module, name, code, protocol)
    plain = called("os", "system", command, 4)
    yield "inst", f"(S'{command}'\nios\nsystem\n.".encode()
    yield "obj", b"\x80\x02(cos\nsystem\n" + text(command) + b"o."
    yield "newobj", b"\x80\x02csubprocess\nPopen\n(" + text("touch") + b"]t\x81."
    yield (
        "newobj_ex",
        b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93(]" + text("touch") + b"a" + text(str(sentinel)) + b"at}\x92.",
    )
    yield "build", b"\x80\x02cbuiltins\nobject\n)\x81}" + text("x") + called("os", "system", command, 2)[2:-1] + b"sb."
    yield "memo", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x30\x30h\x00h\x01\x93" + text(command) + b"\x85R."
    yield "dotted", b"\x80\x04\x8c\x02os\x8c\x0epath.os.system\x93" + text(command) + b"\x85R."
    yield "getattr", b"\x80\x02cbuiltins\ngetattr\n(cos\npath\n" + text("os") + b"tR0" + plain[2:]
    yield "import", b"\x80\x02cbuiltins\n__import__\n" + text("os") + b"\x85R0" + plain[2:]
    yield "broken after", plain[:-1] + b"\xff\xff\xff"
    yield "junk before the end", plain[:-1] + b"0N."
    yield "two after each other", b"\x80\x04N." + plain
    yield "proto lies", b"\x80\x05" + plain[2:]
    yield "frame lies", b"\x80\x04\x95" + struct.pack("<Q", 3) + plain[2:]
    yield "nested", called("pickle", "loads", plain, 4)
    yield "nested in joblib", called("joblib", "load", str(sentinel), 4)
    yield "partial", b"\x80\x02cfunctools\npartial\n(cos\nsystem\n" + text(command) + b"tR)R."
    yield "reduce", b"\x80\x02cfunctools\nreduce\n(cos\nsystem\n]" + text(command) + b"a" + text("") + b"tR."
    yield "map", b"\x80\x02cbuiltins\nlist\n(cbuiltins\nmap\n(cos\nsystem\n]" + text(command) + b"atRtR."
    yield (
        "methodcaller",
        b"\x80\x02coperator\nmethodcaller\n(" + text("system") + text(command) + b"tRcos\npath\n\x85R.",
    )
    yield "marshal", called("marshal", "loads", marshal.dumps(compile(code, "x", "exec")), 4)
    yield "numpy object", called("numpy", "load", str(sentinel), 4)
    yield "ext", b"\x80\x02\x82\x01."
    yield "persistent", b"Pos.system\n."
    yield (
        "dataframe eval",
        b"\x80\x02cpandas\nDataFrame\n)R0" + called("pandas", "eval", f"@__import__('os').system('{command}')", 2)[2:],
    )
    yield "list in front", b"\x80\x02](K\x01K\x02e0" + plain[2:]


def text(value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def called(module: str, name: str, argument: str | bytes, protocol: int) -> bytes:
    """A pickle that calls ``module.name(argument)``."""
    if protocol == 0 and isinstance(argument, str):
        return f"c{module}\n{name}\n(S{argument!r}\ntR.".encode()
    if protocol < 4:
        return f"\x80\x02c{module}\n{name}\n".encode("latin-1") + text(argument) + b"\x85R."
    frame = b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode()
    return b"\x80\x04" + frame + b"\x93" + text(argument) + b"\x85R."


NAMES = ("model.pkl", "model.onnx", "model.skops", "model.json", "model.ubj", "model.cbm", "model.txt", "model.joblib")
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "z": zlib.compress,
           "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE)}  # fmt: skip
FLAVORS = {"sklearn": "pickled_model", "lightgbm": "data", "xgboost": "data", "catboost": "data", "onnx": "data"}
POLYGLOTS = (b"CBM1", b"tree\nversion=v4\n", b'{"learner": ', b"\x08\x07", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner")


def wrapped(content: bytes, folder: Path) -> Iterator[Path]:
    """The trick as files and folders that people might register."""
    folder.mkdir(parents=True)
    for name in NAMES:
        yield _written(folder / name, content)
    for ending, pack in PACKERS.items():
        yield _written(folder / f"model.joblib.{ending}", pack(content))
    for number, front in enumerate(POLYGLOTS):
        yield _written(folder / f"polyglot-{number}", front + content)
    for flavor, field in FLAVORS.items():
        inside = folder / f"mlflow-{flavor}"
        inside.mkdir()
        section = {flavor: {field: "model.bin"}, "python_function": {"loader_module": "os", "model_path": "model.bin"}}
        (inside / "MLmodel").write_text(json.dumps({"flavors": section}))
        (inside / "model.bin").write_bytes(content)
        yield inside
    inside = folder / "mlflow-python-function"
    inside.mkdir()
    section = {
        "loader_module": "mlflow.pyfunc.model",
        "python_model": "model.bin",
        "artifacts": {"a": {"path": "model.bin"}},
    }
    (inside / "MLmodel").write_text(json.dumps({"flavors": {"python_function": section}}))
    (inside / "model.bin").write_bytes(content)
    yield inside
    yield _written(folder / "torch.pt", zipped({"archive/data.pkl": content, "archive/version": b"3"}))
    schema = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode", "type": "object",
              "file": "x.npy", "shape": [1], "protocol": 2, "_skops_version": "0.16.0", "content": [], "__id__": 1}  # fmt: skip
    yield _written(folder / "inside.skops", zipped({"schema.json": json.dumps(schema).encode(), "x.npy": content}))


def skops_files(sentinel: Path) -> Iterator[tuple[str, bytes]]:
    """skops archives whose schema asks for what would run code."""
    command = f"touch {sentinel}"
    argument = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(command)}
    args = {
        "__class__": "tuple",
        "__module__": "builtins",
        "__loader__": "TupleNode",
        "content": [argument],
        "__id__": 9,
    }
    for loader in ("FunctionNode", "TypeNode", "ObjectNode", "ReduceNode", "OperatorFuncNode", "PartialNode", "MethodNode",
                   "SGDNode", "TreeNode", "LossNode", "RandomStateNode", "JsonNode"):  # fmt: skip
        for module, name in (
            ("os", "system"),
            ("builtins", "exec"),
            ("subprocess", "Popen"),
            ("operator", "methodcaller"),
        ):
            schema = {
                "__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, "_skops_version": "0.16.0",
                "protocol": 2, "content": args, "attrs": args, "args": args, "reduce": {"args": args}, "constructor": args,
                "func": {"__class__": name, "__module__": module, "__loader__": "FunctionNode", "content": {
                    "module_path": module, "function": name}},
            }  # fmt: skip
            yield f"{loader} {module}.{name}", zipped({"schema.json": json.dumps(schema).encode()})


def zipped(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return held.getvalue()


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def would_run(content: bytes, sentinel: Path) -> bool:
    """Whether unpickling it here makes the sentinel: the tests of the tests."""
    try:
        pickle.loads(content)
    except BaseException:
        pass
    return sentinel.exists()
