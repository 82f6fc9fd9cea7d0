"""`serve`: a server to try an export with, on this machine."""

from __future__ import annotations

from bertzoo.cli.output import remark


def serve(options) -> None:
    """`bertzoo serve`: answer until interrupted."""
    import importlib.util
    import logging

    if importlib.util.find_spec("waitress") is None:
        raise ValueError("this needs the server library: pip install 'bertzoo[serve]'.")
    from bertzoo.serving.server import serve as run

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    run(
        options.directory,
        host=options.host,
        port=options.port,
        labels=dict(_label(text) for text in options.label),
        announce=remark,
        max_body=options.max_body,
        timeout=options.timeout,
    )


def _label(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdigit():
        raise ValueError(f"--label takes NAME=VERSION, as stable=3; got {text!r}.")
    return name, int(number)
