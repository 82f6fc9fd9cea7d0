"""Every code block of the documents and every example of a docstring runs."""

import doctest
import importlib
import os
import pathlib
import pkgutil
import re
import shlex
import subprocess
import sys

import pytest

import bertzoo

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md",
             *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("recipes/**/*.md"))]  # fmt: skip
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(language):
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    for path in DOCUMENTS:
        for number, match in enumerate(pattern.finditer(path.read_text(encoding="utf8"))):
            name = path.relative_to(ROOT).as_posix()
            # A process for each command and an export take their time; the rest of the README runs
            # anyway.
            is_long = name.startswith("docs/") or language == "console"
            is_long |= "export_saved_model" in match.group(1)
            marks = [pytest.mark.long] if is_long else []
            yield pytest.param(match.group(1), id=f"{name}-{number}", marks=marks)


def module_names():
    yield "bertzoo"
    for module in pkgutil.walk_packages(bertzoo.__path__, "bertzoo."):
        if module.name != "bertzoo.__main__":
            yield module.name


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_of_the_documents_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "document"}
    exec(compile(code, "document", "exec"), namespace)
    assert namespace  # what a block claims, it asserts itself; here it must run through


@pytest.mark.parametrize("code", blocks("console"))
def test_bertzoo_commands_of_the_documents_run(code, tmp_path):
    lines = [line[2:] for line in code.splitlines() if line.startswith("$ ")]
    assert lines, "a console block has no line that starts with `$ `"
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "bertzoo", f"only bertzoo commands run here; got {line!r}"
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.long
@pytest.mark.parametrize("name", module_names())
def test_examples_of_docstrings_run(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    examples = [t for t in doctest.DocTestFinder().find(module, name) if t.examples]
    if not examples:
        assert module.__doc__
        return
    monkeypatch.chdir(tmp_path)
    import keras
    import numpy as np
    import tensorflow as tf

    from bertzoo.models.loading import weights_of
    from bertzoo.models.networks import Network

    shared = {name: getattr(bertzoo, name) for name in bertzoo.__all__}
    shared |= {"np": np, "tf": tf, "keras": keras, "bz": bertzoo, "bertzoo": bertzoo}
    shared |= {"Network": Network, "weights_of": weights_of}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report = []
    for test in examples:
        test.globs = {**shared, **vars(module)}
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
