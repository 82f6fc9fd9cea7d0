"""The import levels of ARCHITECTURE.md, read from the source of every module.

A module imports from lower levels and from its own part, nothing else; and the heavy packages
stay where they belong, so that names and presets are quick and networks run on any backend.
"""

import ast
import pathlib
import subprocess
import sys

import pytest

import bertzoo

PACKAGE = pathlib.Path(bertzoo.__file__).parent

LEVELS = {
    "strict_config": 0,
    "config": 0,
    "tags": 0,
    "durable": 0,
    "presets": 1,
    "hub": 1,
    "tokenizers": 2,
    "layers": 2,
    "checkpoints": 2,
    "metrics": 2,
    "optimizers": 2,
    "readers": 2,
    "losses": 3,
    "preprocessing": 3,
    "models": 3,
    "postprocessing": 3,
    "reports": 3,
    "corpus": 4,
    "tasks": 4,
    "adapt": 5,
    "looking": 5,
    "training": 6,
    "serving": 5,
    "cli": 7,
    "__main__": 8,
}

# (module, function) -> what it may import from above: a name or a directory becomes a config.
UPWARD = {("config", "from_preset"): {"presets", "checkpoints"}}

# The imports inside a level: what all configurations share; a source to be located is a row of a
# preset.
BESIDE = {("config", "strict_config"), ("hub", "presets")}

# From this level on, code may use the package by its public face.
FACE = 5

# Peers and the hubs' clients: only inside functions.
PEERS = {"torch", "transformers", "keras_hub", "sentence_transformers", "tokenizers", "jax",
         "huggingface_hub", "kagglehub", "apache_beam", "sentencex"}  # fmt: skip


class Imports(ast.NodeVisitor):
    """Collect (imported module, enclosing function or None) of one source file."""

    def __init__(self):
        self.functions, self.found = [], []

    def visit_FunctionDef(self, node):
        self.functions.append(node.name)
        self.generic_visit(node)
        self.functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Import(self, node):
        self.add(*(alias.name for alias in node.names))

    def visit_ImportFrom(self, node):
        assert node.level == 0, "modules are imported by their full path"
        # `from bertzoo import presets` imports bertzoo.presets.
        self.add(*(f"{node.module}.{alias.name}" for alias in node.names))

    def add(self, *modules):
        function = self.functions[-1] if self.functions else None
        self.found += [(module, function) for module in modules]


def imports_of(source):
    """Return (imported module, enclosing function or None) pairs of a source text."""
    visitor = Imports()
    visitor.visit(ast.parse(source))
    return visitor.found


def modules():
    """Return every module as (path inside the package, its imports)."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts != ("__init__.py",):
            found["/".join(relative.parts)] = imports_of(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def part_of(path):
    """Return the first component: `layers` of layers/attention.py, `hub` of hub.py."""
    return path.split("/")[0].removesuffix(".py")


def breaches(path, imports):
    """Return the imports of one module that ARCHITECTURE.md does not allow."""
    own, wrong = part_of(path), []
    for module, function in imports:
        names = module.split(".")
        part = names[1] if len(names) > 1 else None
        if names[0] != "bertzoo" or part in (own, "__version__"):
            continue
        if part not in LEVELS:
            if LEVELS[own] < FACE:
                wrong.append(f"{path} imports {module}: below level {FACE}, import the module")
        elif (own, part) in BESIDE or part in UPWARD.get((own, function), ()):
            continue
        elif LEVELS[part] >= LEVELS[own]:
            wrong.append(f"{path} (level {LEVELS[own]}) imports {module} (level {LEVELS[part]})")
    return wrong


def users_of(packages, parts=None, inside_functions=True):
    """Return "file imports package" for those that import one of the packages."""
    return [
        f"{path} imports {module}"
        for path, imports in MODULES.items()
        for module, function in imports
        if module.split(".")[0] in packages
        and (parts is None or part_of(path) in parts)
        and (inside_functions or function is None)
    ]


def users_of_file(path, packages):
    """Return the modules of the packages that one file imports anywhere."""
    return [module for module, _ in MODULES[path] if module.split(".")[0] in packages]


def test_every_part_of_the_package_has_a_level():
    unknown = {part_of(path) for path in MODULES} - set(LEVELS)
    assert unknown == set(), "give the new part a level in ARCHITECTURE.md and here"


@pytest.mark.parametrize("path", sorted(MODULES))
def test_modules_import_only_from_lower_levels(path):
    assert breaches(path, MODULES[path]) == []


def test_layers_and_models_never_import_tensorflow():
    found = users_of({"tensorflow", "tensorflow_text", "tf_keras"}, {"layers", "losses", "models"})
    assert found == []


def test_configs_and_presets_import_neither_tensorflow_nor_keras():
    heavy = {"tensorflow", "tensorflow_text", "keras"}
    assert users_of(heavy, {"strict_config", "config", "durable", "presets"}) == []


def test_the_hub_imports_tensorflow_for_object_stores_alone():
    heavy = {"tensorflow", "tensorflow_text", "keras"}
    users = {path for path in MODULES if users_of_file(path, heavy)}
    assert {path for path in users if part_of(path) == "hub"} == {"hub/object_store.py"}
    assert users_of(heavy, {"hub"}, inside_functions=False) == []


def test_checkpoints_and_the_command_line_load_no_tensorflow_at_import():
    heavy = {"tensorflow", "tensorflow_text", "keras"}
    assert users_of(heavy, {"checkpoints", "cli", "__main__"}, inside_functions=False) == []


def test_tokenizers_use_no_keras():
    assert users_of({"keras"}, {"tokenizers"}) == []


def test_no_module_loads_a_peer_at_import():
    assert users_of(PEERS, inside_functions=False) == []


def test_no_module_uses_the_old_keras():
    assert users_of({"tf_keras"}) == []
    assert [u for u in users_of({"tensorflow"}) if u.endswith("tensorflow.keras")] == []


def test_tf_distribute_is_named_in_the_strategy_alone():
    allowed = {"training/strategy.py"}
    named = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "tf.distribute"
    }
    assert {path for path in named - allowed if not path.startswith("optimizers/")} == set()


def test_the_package_never_imports_recipes_or_tests():
    assert users_of({"recipes", "tests", "benchmarks"}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("layers/attention.py", "from bertzoo.models.backbone import Backbone"),
        ("layers/attention.py", "from bertzoo import checkpoints"),
        ("tokenizers/base.py", "def f():\n    import bertzoo.layers.table"),
        ("presets.py", "from bertzoo import hub"),
        ("presets.py", "import bertzoo"),
        ("models/backbone.py", "from bertzoo.tasks import task"),
        ("models/backbone.py", "from bertzoo import MaskedLM"),
        ("config.py", "from bertzoo import presets"),
    ],
)
def test_a_breach_is_seen(path, source):
    assert len(breaches(path, imports_of(source))) == 1


def in_new_python(code):
    """Run code in a fresh interpreter and return the heavy modules that it loaded."""
    code += (
        "\nimport sys; heavy = {'tensorflow', 'keras', 'numpy', 'tensorflow_text', 'jax', 'torch'}"
        "\nprint(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def test_importing_bertzoo_loads_nothing_heavy():
    assert in_new_python("import bertzoo; dir(bertzoo); bertzoo.BackboneConfig()") == "[]"


@pytest.mark.parametrize("module", ["bertzoo.presets", "bertzoo.hub", "bertzoo.cli"])
def test_names_and_presets_load_neither_tensorflow_nor_keras(module):
    found = in_new_python(f"import {module}")
    assert "tensorflow" not in found
    assert "keras" not in found


def test_importers_load_no_tensorflow():
    found = in_new_python("import bertzoo.checkpoints")
    assert "tensorflow" not in found
    assert "keras" not in found
