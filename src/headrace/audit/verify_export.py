"""Verify an exported audit log without Headrace: ``python verify_export.py [FOLDER]``. Needs Python 3.9 and openssl.

Each line of audit.jsonl is an entry. Its hash is SHA-256 over the JSON list [seq, time, who, action, subject, detail,
previous], without blanks, where `detail` is the text that stands there and `previous` is the hash of the entry before.
head.json names an entry; its signature (ed25519) is by the key in key.pub, and vouches for all before it. Entries after
it, if any, vouch for themselves: each carries a signature of its hash.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

FIELDS = ("seq", "time", "who", "action", "subject", "detail", "previous")


def signed(folder, text, signature):
    """Whether the key in key.pub signed `text`."""
    with tempfile.TemporaryDirectory() as work:
        message, proof = pathlib.Path(work, "message"), pathlib.Path(work, "signature")
        message.write_bytes(text.encode())
        proof.write_bytes(bytes.fromhex(signature))
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(folder / "key.pub")]
        done = subprocess.run([*command, "-in", str(message), "-sigfile", str(proof)], capture_output=True)
    return done.returncode == 0


def problems(folder):
    """What is wrong with the log in `folder`, one line each."""
    previous, number, hashes = "0" * 64, 0, {0: "0" * 64}
    head = json.loads((folder / "head.json").read_text())
    for number, line in enumerate((folder / "audit.jsonl").read_text(encoding="utf-8").split("\n")[:-1], start=1):
        entry = json.loads(line)
        content = json.dumps([entry[name] for name in FIELDS], separators=(",", ":"), ensure_ascii=False)
        if entry["seq"] != number or entry["previous"] != previous:
            yield f"line {number}: entry {entry['seq']} does not follow the one before it"
        if hashlib.sha256(content.encode()).hexdigest() != entry["hash"]:
            yield f"line {number}: its content does not give its hash"
        if number > head["seq"] and not signed(folder, entry["hash"], entry["signature"]):
            yield f"line {number}: it follows the signed head, and its own signature does not hold"
        previous = hashes[number] = entry["hash"]
    if not signed(folder, f"headrace audit head {head['seq']} {head['hash']}", head["signature"]):
        yield "the head is not signed by the key in key.pub"
    if hashes.get(head["seq"]) != head["hash"]:
        yield f"the signed head, entry {head['seq']}, is not in the log as it was signed: it was cut or changed"


if __name__ == "__main__":
    found = list(problems(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    print("\n".join(found) or "The chain is whole, and its head is signed.")
    sys.exit(1 if found else 0)
