"""`check-servable`: would a TensorFlow Serving load this SavedModel and answer from it?"""

from __future__ import annotations

import dataclasses

from bertzoo.cli.output import answer, table


def check(options) -> None:
    """`bertzoo check-servable`: print what was found; a problem is a mistake's exit code."""
    from bertzoo.serving.check import check_servable

    report = check_servable(options.directory, options.server)
    rows = [["signature", "inputs", "outputs"]]
    rows += [
        [name, _spelled(inputs), _spelled(outputs)]
        for name, (inputs, outputs) in report.signatures.items()
    ]
    servers = [["server", "ops that it lacks"]]
    servers += [[server, ", ".join(ops) or "none"] for server, ops in report.missing_ops.items()]
    seconds = "not loaded" if report.load_seconds is None else f"{report.load_seconds:.1f} s"
    plain = "\n\n".join(
        [
            f"{report.folder}\nwritten by TensorFlow {report.tensorflow}, {len(report.ops)} ops, "
            f"{report.num_warm_up} warm-up requests, loaded in: {seconds}",
            table(rows),
            table(servers),
            "\n".join(f"problem: {problem}" for problem in report.problems)
            or f"TensorFlow Serving {report.server} takes it",
        ]
    )
    answer(options, plain, dataclasses.asdict(report))
    if report.problems:
        raise ValueError(f"TensorFlow Serving {report.server} does not take {report.folder}.")


def _spelled(tensors: dict[str, str]) -> str:
    return ", ".join(f"{name} {spelled}" for name, spelled in tensors.items())
