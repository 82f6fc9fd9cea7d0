"""The command line: `bertzoo list | show | tokenize | embed | fill | predict | convert | ...`.

Each verb is a function in one of the files beside this one, imported only when it is asked for:
`list` and `show` load neither TensorFlow nor Keras. Plain text goes to standard output, or JSON
with `--json`; what was done, progress and mistakes go to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys

from bertzoo import __version__

# Ends of the process: nothing wrong, the user's mistake (as argparse's own), interrupted, and (as
# EX_TEMPFAIL of sysexits.h) a training run that was told to stop and saved: run it again.
DONE, MISTAKE, INTERRUPTED, RUN_AGAIN = 0, 2, 130, 75


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code.

    Args:
        arguments: Words of the command line without the program's name; None for the process's.

    Example:
    >>> main(["lst"])
    2
    """
    try:
        options = parse(arguments)
    except SystemExit as stop:  # argparse has said why, or has printed the help
        return int(stop.code or DONE)
    # Before TensorFlow is imported by a verb: its start-up lines are not an answer.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    module, function = options.run.split(":")
    try:
        code = getattr(importlib.import_module(module), function)(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of `bertzoo list | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if options.debug:
            raise
        print(f"bertzoo {options.verb}: {sentence(error)}", file=sys.stderr)
        return MISTAKE
    return code or DONE


def sentence(error: Exception) -> str:
    """Return what an error says to a user, without its class.

    >>> sentence(FileNotFoundError(2, "No such file or directory", "texts.txt"))
    'No such file or directory: texts.txt'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    if isinstance(error, ModuleNotFoundError):
        return f"this needs the Python package {error.name}, which is not installed"
    return str(error).strip() or type(error).__name__


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line and where the help is."""

    def error(self, message):
        """Print one sentence and leave with the code of a mistake."""
        self.exit(MISTAKE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options; texts may also stand behind an option: `embed NAME --json "a cat"`.

    Likewise several changes behind one `--set`: `train RECIPE --set a.b=1 a.c=2`.
    """
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    changes = rest and hasattr(options, "set") and not hasattr(options, "texts")
    if changes and all(re.match(r"[a-z][\w.]*=", word) for word in rest):
        options.set += rest
        return options
    # argparse gives the positional words before the first option to `texts` and returns the others.
    has_option = any(word.startswith("-") and word != "-" for word in rest)
    if rest and (not hasattr(options, "texts") or has_option):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.texts += rest
    return options


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = Parser(prog="bertzoo", description="The model zoo of BERT variants.")
    parser.add_argument("--version", action="version", version=f"bertzoo {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument("--debug", action="store_true", help="show where an error came from")

    def verb(name, run, text, **kwargs):
        command = verbs.add_parser(name, help=text, description=text, parents=[common], **kwargs)
        command.set_defaults(run=f"bertzoo.cli.{run}")
        return command

    command = verb("list", "zoo:list_presets", "List the presets.")
    command.add_argument("pattern", nargs="?", help="only names or aliases that contain this")
    command.add_argument("--family", help="only this family, such as bert or domain")
    command.add_argument("--head", help="only presets that carry this head, such as masked_lm")
    command.add_argument("--language", help="only this language: en, zh or multi")
    command.add_argument("--here", action="store_true", help="only those on this machine")
    command.add_argument("--markdown", action="store_true", help="print the page docs/zoo.md")

    command = verb("show", "zoo:show", "Show all that is known of one preset or checkpoint.")
    _add_source(command)
    command = verb("tokenize", "texts:tokenize", "Show the tokens of texts.")
    _add_source(command)
    _add_texts(command)
    command.add_argument("--offsets", action="store_true", help="also where each token stands")
    command = verb("embed", "texts:embed", "Turn texts into vectors.")
    _add_source(command)
    _add_texts(command)
    command.add_argument("--output", metavar="FILE", help="write the vectors to this .npy file")
    command.add_argument(
        "--projector", metavar="FOLDER", help="write them for TensorBoard's projector"
    )
    command = verb("fill", "texts:fill", "Fill the [MASK] in texts.")
    _add_source(command)
    _add_texts(command)
    command.add_argument("--top-k", type=int, default=5, metavar="K", help="answers (default 5)")
    command.add_argument(
        "--interactive", action="store_true", help="answer texts one by one, as they are typed"
    )
    command = verb("predict", "predicting:predict", "Ask a fine-tuned checkpoint about texts.")
    _add_source(command)
    _add_texts(command)
    command.add_argument("--task", metavar="HEAD", help="head, where there are several")
    command.add_argument("--input-json", action="store_true", help="lines of input are JSON")
    command.add_argument("--jsonl", action="store_true", help="print a line of JSON for each")
    command = verb("evaluate", "predicting:evaluate", "Measure a fine-tuned checkpoint on a file.")
    _add_source(command)
    _add_evaluation(command)
    command = verb("ask", "predicting:ask", "Answer questions on a passage.")
    _add_source(command)
    command.add_argument("texts", nargs="*", help="questions; without any, as they are typed")
    command.add_argument("--context", metavar="TEXT", help="the passage")
    command.add_argument("--context-file", metavar="FILE", help="a file with the passage")
    command.add_argument("--top-k", type=int, default=1, metavar="K", help="answers (default 1)")

    command = verb("look", "looking:look", "Look inside: attention and similarity as a page.")
    _add_source(command)
    _add_texts(command)
    command.add_argument("--pair", metavar="TEXT", help="a second text, as in a pair")
    command.add_argument(
        "--output", metavar="FILE", default="page.html", help="page to write (default page.html)"
    )
    command.add_argument(
        "--max-tokens", type=int, default=64, metavar="T", help="cut longer texts (default 64)"
    )

    command = verb("convert", "convert:convert", "Write a checkpoint in another format.")
    _add_source(command)
    command.add_argument("directory", help="new directory to write")
    command.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help="bertzoo, hf_bert and its like, sentence_transformers, keras_hub, google_bert or "
        "google_albert",
    )
    command.add_argument(
        "--heads", metavar="KINDS", help="heads to write, with commas between (default: all)"
    )
    command.add_argument(
        "--allow-inexact",
        action="store_true",
        help="write even where the other library will compute something else",
    )
    command = verb("upload", "upload:upload", "Publish a preset on Hugging Face or Kaggle.")
    command.add_argument("directory", help="preset directory, as save_to_preset writes it")
    command.add_argument(
        "address", help="hf://user/repo or kaggle://owner/model/framework/variation"
    )
    command.add_argument("--private", action="store_true", help="make a new repository private")
    command.add_argument("--message", metavar="TEXT", help="of the commit or the version")
    command.add_argument("--license", metavar="ID", help="for the model card, such as Apache-2.0")
    command.add_argument("--language", metavar="CODE", help="for the model card, such as en")
    command.add_argument("--training-data", metavar="TEXT", help="for the model card")
    command.add_argument(
        "--metric", metavar="NAME=NUMBER", action="append", default=[], help="for the model card"
    )
    _add_serving(verb)
    command = verb("prepare", "prepare:prepare", "Turn text files into records for pretraining.")
    command.add_argument("source", help="tokenizer: a preset, a directory, or a vocabulary file")
    command.add_argument("directory", help="where the records go")
    command.add_argument("texts", nargs="+", help="text files or patterns")
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of the records, such as mode=full_sentences or sequence_length=512",
    )
    command.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    command.add_argument("--smoke", action="store_true", help="only the first 200 documents")
    command = verb("train", "train:train", "Run a recipe; again, to go on where it stopped.")
    command.add_argument("recipe", help="YAML file, or a name such as pretrain/bert_base")
    command.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change a value: a.b=c"
    )
    command.add_argument("--smoke", action="store_true", help="a run of seconds, to try it out")
    command.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    command.add_argument("--resume", action="store_true", help="refuse to start anew")
    command.add_argument(
        "--force", action="store_true", help="go on with a changed recipe or lost checkpoints"
    )
    verb("doctor", "doctor:doctor", "Say what is installed, and what is missing for what.")
    return parser


def _add_evaluation(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", required=True, metavar="FILE", help="examples with labels")
    command.add_argument("--task", metavar="TASK", help="as in recipes (default: of the head)")
    command.add_argument("--reader", metavar="READER", help="as in recipes (default: by the name)")
    command.add_argument("--glue-task", metavar="NAME", help="for the reader glue, as RTE")
    command.add_argument(
        "--column",
        metavar="NAME=COLUMN",
        action="append",
        default=[],
        help="where text, text_pair, label, score, words or tags stand",
    )
    command.add_argument("--delimiter", default=",", help="of csv (default ,)")
    command.add_argument("--encoding", default="utf-8", help="of the file (default utf-8)")
    command.add_argument("--no-header", action="store_true", help="columns have no names")
    command.add_argument("--limit", type=int, metavar="N", help="only the first N examples")
    command.add_argument("--sequence-length", type=int, metavar="T", help="longest row")
    command.add_argument("--batch-size", type=int, default=32, metavar="B", help="(default 32)")
    command.add_argument("--predictions", metavar="FILE", help="write a line of JSON for each")
    command.add_argument("--errors", metavar="FILE", help="write a sample of mistakes as TSV")


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source", help="preset name, alias, checkpoint directory, archive, or hf://user/repo"
    )
    command.add_argument(
        "--format", metavar="FORMAT", help="format of a checkpoint directory (default: found)"
    )


def _add_serving(verb) -> None:
    command = verb("export", "export:export", "Write a version for TensorFlow Serving.")
    _add_source(command)
    command.add_argument("directory", help="folder of the model; the version is a folder in it")
    command.add_argument(
        "--task",
        metavar="KINDS",
        help="what it answers, such as text_classifier; with commas, several on one encoder "
        "(default: the one head of the checkpoint, or text_embedder)",
    )
    command.add_argument("--version", type=int, metavar="N", help="default: the next number")
    command.add_argument("--pairs", action="store_true", help="it takes pairs of texts")
    command.add_argument(
        "--input-names",
        default="bertzoo",
        metavar="STYLE",
        help="of ids: bertzoo (default), keras_hub, hugging_face or garden",
    )
    command.add_argument("--dtype", metavar="POLICY", help="such as bfloat16; outputs stay float32")
    command.add_argument("--length", type=int, metavar="N", help="most tokens of a text")
    _add_server(command)
    command = verb("check-servable", "check_servable:check", "Check a SavedModel for a server.")
    command.add_argument("directory", help="folder of a SavedModel, or of a model with versions")
    _add_server(command)
    command = verb("serve", "serve:serve", "Try an export: a local server with a page.")
    command.add_argument("directory", help="folder of the model, with its versions")
    command.add_argument("--host", default="127.0.0.1", help="where to listen (default loopback)")
    command.add_argument("--port", type=int, default=8501, help="default 8501; 0 for a free one")
    command.add_argument(
        "--label", metavar="NAME=N", action="append", default=[], help="keep a version by a name"
    )
    command.add_argument(
        "--max-body", type=int, default=2**20, metavar="BYTES", help="of a request (default 1 MB)"
    )
    command.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="of an answer (default 60)"
    )


def _add_server(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--server",
        default="2.13",
        metavar="VERSION",
        help="oldest TensorFlow Serving that is to load it, 2.13 (default) to 2.20",
    )


def _add_texts(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "texts", nargs="*", help="texts; without any, or -: standard input's lines"
    )
    command.add_argument("--file", metavar="FILE", help="read one text per line from this file")
