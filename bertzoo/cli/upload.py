"""`upload`: a preset directory to Hugging Face or Kaggle."""

from __future__ import annotations

from bertzoo.cli.output import answer, remark


def upload(options) -> None:
    """`bertzoo upload`: publish a preset with its model card."""
    from bertzoo import checkpoints

    facts = {name: getattr(options, name) for name in ("license", "language", "training_data")
             if getattr(options, name) is not None}  # fmt: skip
    metrics = dict(_metric(text) for text in options.metric)
    if metrics:
        facts["metrics"] = metrics
    remark(f"uploading {options.directory} to {options.address} ...")
    address = checkpoints.upload_preset(
        options.directory,
        options.address,
        facts=facts,
        private=options.private,
        **({"message": options.message} if options.message else {}),
    )
    answer(options, address, {"directory": options.directory, "address": address})


def _metric(text: str) -> tuple[str, float]:
    """Read `accuracy=0.93`."""
    name, equals, value = text.partition("=")
    try:
        if not name or not equals:
            raise ValueError
        return name, float(value)
    except ValueError:
        raise ValueError(f"--metric must be a name and a number, as accuracy=0.93; got {text!r}."
                         ) from None  # fmt: skip
