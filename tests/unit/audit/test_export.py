"""An auditor verifies the exported chain with a short script and openssl, without Headrace."""

import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.audit.exporting import SCRIPT
from headrace.kernel.errors import Conflict


def verified(folder):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def exported(registered, tmp_path):
    with registered.audit_log.change() as change:
        change.entry('é\u2028\x7f"\\', "odd", "\t\n\x01", text="ü \U0001f600 \ud7ff", number=1e-7)
    registered.export_audit(tmp_path / "out")
    return tmp_path / "out"


def test_a_whole_chain(exported, registered):
    assert verified(exported) == (0, "The chain is whole, and its head is signed.\n")
    lines = (exported / "audit.jsonl").read_text().split("\n")[:-1]
    assert len(lines) == registered.verify_audit().entries
    with pytest.raises(Conflict):
        registered.export_audit(exported)


def test_the_script_is_short_and_needs_nothing_of_ours():
    text = SCRIPT.read_text()
    code = [line for line in text.split('"""', 2)[2].splitlines() if line.strip()]
    assert len(code) <= 50
    assert "import headrace" not in text


@pytest.mark.parametrize(
    "way", ["edit", "remove one", "remove the end", "swap", "another head", "another key", "append"]
)
def test_what_was_changed_is_seen(exported, tmp_path, way):
    path = exported / "audit.jsonl"
    lines = path.read_text().split("\n")[:-1]
    head = json.loads((exported / "head.json").read_text())
    if way == "edit":
        lines[1] = lines[1].replace('"who":"', '"who":"x')
    elif way == "remove one":
        del lines[1]
    elif way == "remove the end":
        lines.pop()
    elif way == "swap":
        lines[0], lines[1] = lines[1], lines[0]
    elif way == "append":
        import hashlib

        forged = {
            **json.loads(lines[-1]),
            "seq": len(lines) + 1,
            "who": "alice",
            "action": "approve",
            "signature": "00",
        }
        forged["previous"] = json.loads(lines[-1])["hash"]
        content = [forged[name] for name in ("seq", "time", "who", "action", "subject", "detail", "previous")]
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        forged["hash"] = hashlib.sha256(text.encode()).hexdigest()
        lines.append(json.dumps(forged))
    elif way == "another head":
        head["seq"] -= 1
    else:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from headrace.audit.signing import Signer

        (exported / "key.pub").write_bytes(Signer(Ed25519PrivateKey.generate()).public.pem)
    path.write_text("".join(f"{line}\n" for line in lines))
    (exported / "head.json").write_text(json.dumps(head))
    code, said = verified(exported)
    assert code == 1, said


@given(st.text(max_size=8), st.dictionaries(st.text(max_size=4), st.one_of(st.text(max_size=6), st.floats(allow_nan=False, allow_infinity=False)), max_size=3))  # fmt: skip
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_hashes_the_same_for_the_script(ws, tmp_path_factory, text, detail):
    import importlib.util

    with ws.audit_log.change() as change:
        change.entry(text, text, text, detail=detail)
    folder = tmp_path_factory.mktemp("out") / "log"
    ws.export_audit(folder)
    spec = importlib.util.spec_from_file_location("verify_export", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert list(script.problems(folder)) == []
