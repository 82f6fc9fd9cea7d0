"""sentence-transformers directories: an encoder, then the modules that `modules.json` lists.

Both layouts are read: the old one (`sentence_transformers.models.Pooling`, boolean pooling keys)
and the one that version 6 writes (longer class names, `pooling_mode`). Only the last word of a
class name counts. The modules become one `text_embedder` head.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing

from bertzoo.checkpoints import checkpoint, hugging_face, readers, shapes
from bertzoo.checkpoints.safetensors_file import write_safetensors
from bertzoo.checkpoints.table import Row, dense
from bertzoo.config import HeadConfig

# In the order in which sentence-transformers concatenates them, which is ours.
OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt",
}
NEW_POOLING = {"cls": "cls", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt"}
ACTIVATIONS = {"Identity": None, "Tanh": "tanh", "ReLU": "relu", "GELU": "gelu"}
TORCH_ACTIVATIONS = {
    None: "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
}
# The version is that of the layout, of which newer ones warn if it is newer than they are.
SETTINGS = {
    "__version__": {"sentence_transformers": "2.2.2"},
    "prompts": {},
    "default_prompt_name": None,
    "similarity_fn_name": None,  # theirs decides, which is the cosine
}


class _CannotExpress(Exception):
    """A module that a text_embedder head has no field for."""


def is_sentence_transformers(directory: pathlib.Path) -> bool:
    """Whether a directory lists modules."""
    return (directory / "modules.json").is_file()


def open_sentence_transformers(
    directory: pathlib.Path, format: str | None = None, **options
) -> checkpoint.Checkpoint:
    """Open the encoder and add its `text_embedder` head.

    With a format given, modules that the head cannot express are named in `unread_heads` and
    the encoder can be used; otherwise they raise, since vectors without them would be others.

    Args:
        directory: With a `modules.json`.
        format: Of the encoder, one of `hugging_face.FORMATS`; None to find it.
        **options: Of `open_hugging_face`.
    """
    modules = _modules(directory)
    encoder = _inside(directory, modules[0].path)
    opened = hugging_face.open_hugging_face(encoder, format, **options)
    opened = dataclasses.replace(opened, name=str(directory), directory=directory)
    opened = _with_length(opened, encoder)
    try:
        _check_prompts(directory)
        head, rows = _read_head(directory, modules[1:], opened)
    except _CannotExpress as error:
        if format is None:
            raise ValueError(
                f"{directory}: {error}. To use the encoder without these modules, pass "
                f"format={opened.format!r}."
            ) from error
        reasons = {**opened.unread_heads, "text_embedder": str(error)}
        return dataclasses.replace(opened, unread_heads=reasons)
    return dataclasses.replace(
        opened,
        heads={**opened.heads, "text_embedder": head},
        table=dataclasses.replace(opened.table, rows=(*opened.table.rows, *rows)),
    )


@dataclasses.dataclass(frozen=True)
class _Module:
    kind: str
    path: str


def _modules(directory: pathlib.Path) -> list[_Module]:
    path = directory / "modules.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        listed = sorted(listed, key=lambda item: item["idx"])
        modules = [_Module(str(m["type"]).rsplit(".", 1)[-1], str(m["path"])) for m in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a list of modules with idx, path and type.") from error
    if not modules or modules[0].kind != "Transformer":
        first = modules[0].kind if modules else "nothing"
        raise ValueError(f"{path} begins with {first}; expected a Transformer module.")
    return modules


def _read_head(directory, modules, opened) -> tuple[HeadConfig, list[Row]]:
    pooling: tuple[str, ...] = ("mean",)
    normalize = False
    projections: list[tuple[int, str | None, bool]] = []
    folders: list[pathlib.Path] = []
    if not modules or modules[0].kind != "Pooling":
        first = modules[0].kind if modules else "nothing"
        raise _CannotExpress(f"modules.json has {first} after the Transformer; expected Pooling")
    width = opened.config.hidden_dim
    for index, module in enumerate(modules):
        # Copies often lose empty folders, such as that of Normalize: modules.json decides.
        if module.kind == "Pooling" and index == 0:
            pooling = _pooling(_inside(directory, module.path) / "config.json")
            width *= len(pooling)
        elif normalize:
            raise _CannotExpress(f"modules.json has {module.kind} after Normalize")
        elif module.kind == "Normalize":
            normalize = True
        elif module.kind == "Dense":
            folders.append(_inside(directory, module.path))
            projections.append(_dense(folders[-1], width))
            width = projections[-1][0]
        else:
            raise _CannotExpress(
                f"modules.json has the module {module.kind} ({module.path}), which bertzoo does "
                "not read; it reads Pooling, Dense and Normalize"
            )
    head = HeadConfig(
        kind="text_embedder",
        pooling=pooling,
        normalize=normalize,
        projections=tuple(projections),
    )
    rows: list[Row] = []
    if opened.tensors is not None:
        readers_of = [_open_dense(folder) for folder in folders]  # all, before one is added
        for number, (folder, reader) in enumerate(zip(folders, readers_of, strict=True)):
            for name in reader.shapes:
                opened.tensors.add(f"{folder.name}.{name}", reader, name)
            rows += dense(f"{folder.name}.linear", f"text_embedder/projection_{number}")
    return head, rows


def _pooling(path: pathlib.Path) -> tuple[str, ...]:
    raw = readers.read_json(path)
    if "pooling_mode" in raw:
        modes = raw["pooling_mode"]
        modes = [modes] if isinstance(modes, str) else list(modes)
        strange = [mode for mode in modes if mode not in NEW_POOLING]
        found = [NEW_POOLING[mode] for mode in modes if mode in NEW_POOLING]
        # Version 6 concatenates in the order given, older versions in a fixed one, as we do.
        in_order = [mode for mode in NEW_POOLING if mode in modes]
        if not strange and modes != in_order:
            raise _CannotExpress(
                f"{path} concatenates {', '.join(modes)}; bertzoo does it as {', '.join(in_order)}"
            )
    else:
        active = [key for key, on in raw.items() if key.startswith("pooling_mode_") and on is True]
        strange = [key for key in active if key not in OLD_POOLING]
        found = [OLD_POOLING[key] for key in active if key in OLD_POOLING]
    if strange:
        raise _CannotExpress(
            f"{path} asks for the pooling {', '.join(map(str, strange))}; bertzoo has cls, max, "
            "mean and mean_sqrt"
        )
    return tuple(dict.fromkeys(found)) or ("mean",)  # none named means mean, as there


def _dense(folder: pathlib.Path, width: int) -> tuple[int, str | None, bool]:
    path = folder / "config.json"
    raw = readers.read_json(path)
    activation = str(raw.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = activation.rsplit(".", 1)[-1].removesuffix("()")
    if name not in ACTIVATIONS or raw.get("use_residual"):
        what = "a residual connection" if raw.get("use_residual") else f"the activation {name}"
        raise _CannotExpress(f"{path} asks for {what}, which bertzoo's projections do not have")
    if raw.get("in_features") != width or type(raw.get("out_features")) is not int:
        raise ValueError(
            f"{path} maps {raw.get('in_features')!r} to {raw.get('out_features')!r} features, but "
            f"{width} come in."
        )
    if raw.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise _CannotExpress(f"{path} reads {raw['module_input_name']}, not the pooled vector")
    return raw["out_features"], ACTIVATIONS[name], bool(raw.get("bias", True))


def _open_dense(folder: pathlib.Path):
    found = hugging_face.open_weight_files(folder)
    if len(found) != 1:
        raise _CannotExpress(f"{folder} has neither model.safetensors nor pytorch_model.bin")
    return found[0]


def _check_prompts(directory: pathlib.Path) -> None:
    path = directory / "config_sentence_transformers.json"
    raw: dict[str, typing.Any] = readers.read_json(path) if path.is_file() else {}
    name = raw.get("default_prompt_name")
    prompt = (raw.get("prompts") or {}).get(name) if name else None
    if prompt:
        raise _CannotExpress(
            f"{path} puts the prompt {prompt!r} before every text, which bertzoo does not do"
        )


def _with_length(opened, encoder: pathlib.Path):
    """Take over max_seq_length. The case in the same file is not the tokenizer's: it is left."""
    found = sorted(encoder.glob("sentence_*_config.json"))
    length = readers.read_json(found[0]).get("max_seq_length") if found else None
    if opened.tokenizer is None or type(length) is not int:
        return opened
    length = min(length, opened.config.max_sequence_length)
    if length < 3:
        raise ValueError(f"{found[0]} has max_seq_length {length}; expected at least 3.")
    tokenizer = opened.tokenizer.replace(sequence_length=length)
    return dataclasses.replace(opened, tokenizer=tokenizer)


def _inside(directory: pathlib.Path, path: str) -> pathlib.Path:
    # A module lies in the directory; modules.json must not make bertzoo read files elsewhere.
    if pathlib.PurePath(path).is_absolute() or ".." in pathlib.PurePath(path).parts:
        raise ValueError(f"{directory / 'modules.json'} names the path {path!r} outside of it.")
    return directory / path


def write_modules(directory: pathlib.Path, opened: checkpoint.Checkpoint) -> None:
    """Write the modules of a `text_embedder` head around an encoder that lies in the directory.

    In the old layout, which every version of sentence-transformers reads.
    """
    head = opened.heads["text_embedder"]
    width = opened.config.hidden_dim
    folders: list[tuple[str, str]] = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modes = {key: mode in head.pooling for key, mode in OLD_POOLING.items()}
    _write(directory / "1_Pooling", {"word_embedding_dimension": width, **modes})
    width *= len(head.pooling)
    arrays = dict(opened.weights(shapes.head_shapes(opened.config, head)))
    for number, (out, activation, has_bias) in enumerate(head.projections):
        folder = f"{len(folders)}_Dense"
        folders.append(("Dense", folder))
        config = {
            "in_features": width,
            "out_features": out,
            "bias": has_bias,
            "activation_function": TORCH_ACTIVATIONS[activation],
        }
        _write(directory / folder, config)
        ours = f"text_embedder/projection_{number}"
        tensors = {"linear.weight": arrays[f"{ours}/kernel"].T}
        if has_bias:
            tensors["linear.bias"] = arrays[f"{ours}/bias"]
        tensor_shapes = {name: array.shape for name, array in tensors.items()}
        write_safetensors(
            directory / folder / "model.safetensors",
            tensor_shapes,
            tensors.items(),
            metadata={"format": "pt"},
        )
        width = out
    if head.normalize:
        folders.append(("Normalize", f"{len(folders)}_Normalize"))
        (directory / folders[-1][1]).mkdir()
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": folder,
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, (kind, folder) in enumerate(folders)
    ]
    _write_json(directory / "modules.json", modules)
    _write_json(directory / "config_sentence_transformers.json", SETTINGS)
    length = opened.config.max_sequence_length
    if opened.tokenizer is not None and opened.tokenizer.sequence_length is not None:
        length = opened.tokenizer.sequence_length
    settings = {"max_seq_length": length, "do_lower_case": False}
    _write_json(directory / "sentence_bert_config.json", settings)


def _write(folder: pathlib.Path, config: dict[str, typing.Any]) -> None:
    folder.mkdir()
    _write_json(folder / "config.json", config)


def _write_json(path: pathlib.Path, value: typing.Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
