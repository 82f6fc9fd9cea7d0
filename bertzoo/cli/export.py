"""`export`: a checkpoint as a version directory for TensorFlow Serving."""

from __future__ import annotations

from bertzoo.cli.output import answer, remark

# Kind of head -> the task that answers with it.
TASKS = {
    "masked_lm": "MaskedLM",
    "multiple_choice": "MultipleChoice",
    "question_answerer": "QuestionAnswerer",
    "text_classifier": "TextClassifier",
    "text_embedder": "TextEmbedder",
    "token_classifier": "TokenClassifier",
}


def export(options) -> None:
    """`bertzoo export`: load tasks, write and check a version."""
    from bertzoo import checkpoints
    from bertzoo.config import check_key

    checkpoint = checkpoints.open_source(options.source, format=options.format)
    kinds = options.task.split(",") if options.task else [_only_kind(checkpoint)]
    for kind in kinds:
        check_key(kind, TASKS, "--task")
    import bertzoo
    from bertzoo.serving.companions import read_manifest

    remark(f"exporting {', '.join(kinds)} of {options.source} ...")
    tasks = {
        kind: getattr(bertzoo, TASKS[kind]).from_preset(
            options.source,
            dtype=options.dtype,
            format=options.format,
            sequence_length=options.length,
        )
        for kind in kinds
    }
    version = bertzoo.export_saved_model(
        tasks,
        options.directory,
        version=options.version,
        pairs=options.pairs,
        input_names=options.input_names,
        server=options.server,
    )
    manifest = read_manifest(version)
    lines = [f"{version}: takes TensorFlow Serving {options.server} or newer"]
    lines += [
        f"  {name}: {', '.join(tensors['inputs'])} -> {', '.join(tensors['outputs'])}"
        for name, tensors in manifest["signatures"].items()
    ]
    answer(options, "\n".join(lines), {"version": str(version), **manifest})


def _only_kind(checkpoint) -> str:
    found = [kind for kind in checkpoint.heads if kind in TASKS]
    if len(found) > 1:
        raise ValueError(
            f"{checkpoint.name} has several heads: choose with --task from {', '.join(found)}."
        )
    return found[0] if found else "text_embedder"
