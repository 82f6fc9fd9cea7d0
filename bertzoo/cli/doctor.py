"""`doctor`: what is installed here, and what is missing for what."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys

from bertzoo import __version__, hub, presets
from bertzoo.cli.output import answer, table

CORE_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "numpy", "safetensors", "PyYAML", "h5py")
# Package and what it is good for here.
OPTIONAL_PACKAGES = {
    "huggingface_hub": "hf://user/repo and most presets by name",
    "kagglehub": "kaggle://owner/model/framework/variation",
    "torch": "the PyTorch backend of Keras",
    "jax": "the JAX backend of Keras",
    "transformers": "comparisons with Hugging Face",
    "sentence-transformers": "comparisons of vectors",
    "keras-hub": "comparisons with KerasHub",
    "tensorflow-serving-api": "requests to TensorFlow Serving",
}
# Where a TPU virtual machine shows its chips.
TPU_DEVICE_FILES = ("/dev/accel0", "/dev/vfio/0")


def doctor(options) -> None:
    """`bertzoo doctor`: versions, devices, caches, and one line per use that is not ready."""
    packages = {name: _version(name) for name in CORE_PACKAGES}
    optional = {name: _version(name) for name in OPTIONAL_PACKAGES}
    machine = _machine(packages["tensorflow"])
    caches = _caches()
    uses = {
        "text": _text_problem(packages),
        "gpu": _gpu_problem(machine),
        "tpu": _tpu_problem(),
        "serving": _serving_problem(packages, optional),
        "hf://": _hub_problem("hugging_face", optional["huggingface_hub"], "hf"),
        "kaggle://": _hub_problem("kaggle", optional["kagglehub"], "kaggle"),
    }
    structured = {
        "bertzoo": __version__,
        "python": platform.python_version(),
        "packages": packages,
        "optional_packages": optional,
        "machine": machine,
        "caches": caches,
        "uses": {name: {"ready": problem is None, "missing": problem}
                 for name, problem in uses.items()},
    }  # fmt: skip
    rows = [["bertzoo", __version__], ["python", platform.python_version()]]
    rows += [[name, version or "missing"] for name, version in packages.items()]
    extra = [[name, version or f"not installed ({OPTIONAL_PACKAGES[name]})"]
             for name, version in optional.items()]  # fmt: skip
    devices = [["processor", f"{machine['cpus']} cores, {platform.machine()}"]]
    devices += [["tensorflow", machine["tensorflow_error"] or ", ".join(machine["devices"])]]
    folders = [[name, f"{value['folder']}, {value['says']}"] for name, value in caches.items()]
    ready = [[name, "ready" if problem is None else f"missing: {problem}"]
             for name, problem in uses.items()]  # fmt: skip
    parts = {"installed": rows, "optional": extra, "devices": devices, "caches": folders,
             "uses": ready}  # fmt: skip
    plain = "\n\n".join(f"{title}\n{table(body)}" for title, body in parts.items())
    answer(options, plain, structured)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine(tensorflow_version: str | None) -> dict:
    """Ask TensorFlow for its devices; that it cannot be imported is an answer too."""
    found: dict = {"cpus": os.cpu_count(), "devices": [], "cuda": False, "tensorflow_error": None}
    if tensorflow_version is None:
        return {**found, "tensorflow_error": "not installed"}
    try:
        import tensorflow as tf
    except Exception as error:  # a broken installation raises anything
        return {**found, "tensorflow_error": f"cannot be imported: {error}"}
    devices = [device.name.removeprefix("/physical_device:")
               for device in tf.config.list_physical_devices()]  # fmt: skip
    return {**found, "devices": devices, "cuda": bool(tf.test.is_built_with_cuda())}


def _caches() -> dict[str, dict]:
    every = presets.list_presets().values()
    own = [info.name for info in every if (hub.home() / info.name).is_dir()]
    packaged = [info.name for info in every if hub.locate(info) and info.name not in own]
    says = f"{len(own)} presets" if hub.home().is_dir() else "not made yet"
    entries = [hub.describe(entry) for entry in hub.downloaded()]
    size = sum(entry["bytes"] for entry in entries) / 2**20
    return {
        "BERTZOO_HOME": {"folder": str(hub.home()), "presets": own, "says": says},
        "downloads": {
            "folder": str(hub.downloads()),
            "presets": [],
            "says": f"{len(entries)} addresses, {size:,.0f} MB",
            "addresses": entries,
        },
        "installed packages": {
            "folder": str(pathlib.Path(sys.prefix)),
            "presets": packaged,
            "says": ", ".join(packaged) or "no presets",
        },
        "preset files": {
            "folder": str(presets.data_folder("presets")),
            "presets": [],
            "says": f"{len(every)} presets described",
        },
    }


def _text_problem(packages) -> str | None:
    core, text = packages["tensorflow"], packages["tensorflow-text"]
    if core is None:
        return "the package tensorflow"
    if text is None:
        return "the package tensorflow-text of the same version as tensorflow"
    # Its op library is linked against one minor version of TensorFlow.
    if core.split(".")[:2] != text.split(".")[:2]:
        return f"tensorflow-text {core.rpartition('.')[0]}: {text} does not fit tensorflow {core}"
    return None


def _gpu_problem(machine) -> str | None:
    if machine["tensorflow_error"]:
        return "a TensorFlow that can be imported"
    if any(device.startswith("GPU") for device in machine["devices"]):
        return None
    if not machine["cuda"]:
        return "a TensorFlow that is built with CUDA, and a GPU"
    if shutil.which("nvidia-smi"):
        return "the CUDA libraries that tensorflow[and-cuda] brings"
    return "a GPU with its driver (nvidia-smi is not found)"


def _tpu_problem() -> str | None:
    if not any(pathlib.Path(path).exists() for path in TPU_DEVICE_FILES):
        return "a TPU (this is no TPU virtual machine)"
    if _version("tensorflow-tpu") is None and _version("libtpu") is None:
        return "the package tensorflow-tpu"
    return None


def _hub_problem(kind: str, version: str | None, extra: str) -> str | None:
    if version is None:
        return f"its client: pip install 'bertzoo[{extra}]'"
    variable = hub.offline(kind)
    return f"the network: {variable} is set" if variable else None


def _serving_problem(packages, optional) -> str | None:
    if packages["tensorflow"] is None:
        return "the package tensorflow"
    if shutil.which("tensorflow_model_server") is None and shutil.which("docker") is None:
        return "tensorflow_model_server, or docker to run its image"
    if optional["tensorflow-serving-api"] is None:
        return "the package tensorflow-serving-api, to send requests from Python"
    return None
