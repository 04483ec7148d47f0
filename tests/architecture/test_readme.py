"""The README is true: its code runs, and each row of its table gives what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()


def table():
    lines = TEXT.split("| what you want |")[1].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        cells = re.split(r"(?<!\\)\|", line.strip("|"))
        yield cells[1].strip().strip("`").replace("\\|", "|"), cells[2].strip().strip("`")


def test_it_reaches_running_code_early():
    assert next(i for i, line in enumerate(TEXT.splitlines(), 1) if line.startswith("make demo")) <= 25


def test_its_python_runs(tmp_path):
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "0.7" in done.stdout and "true" in done.stdout


def test_its_curl_lines_answer(tmp_path, start_headrace):
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    server = start_headrace("--workspace", str(tmp_path / "my-workspace"), "serve", "--port", "0")
    lines = [line for line in TEXT.splitlines() if line.startswith("curl ")]
    assert len(lines) == 4
    for line in lines:
        command = line.replace("http://127.0.0.1:8000", server["url"]).replace("curl ", "curl -sSf ", 1)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 and "true" in done.stdout, (line, done.stdout, done.stderr)


def test_each_row_gives_what_it_says_one_after_the_other(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    rows = list(table())
    assert len(rows) > 12
    for command, shows in rows:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PATH": path, "COLUMNS": "200"},
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        assert shows in done.stdout + done.stderr, (command, done.stdout, done.stderr)


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
