"""Records prepared in a process of its own, for tests that kill it."""

import json
import os
import sys
import time

from bertzoo.corpus import storage
from bertzoo.corpus.manifest import RecordOptions
from bertzoo.corpus.prepare import prepare_records
from bertzoo.tokenizers.wordpiece import WordPieceTokenizer


def run(vocabulary, texts, directory, options, workers=1):
    tokenizer = WordPieceTokenizer(vocabulary)
    options = RecordOptions.from_dict(options)
    return prepare_records(tokenizer, texts, directory, options, workers).to_json().decode()


def group(**order):
    """Run as the first of a group of processes, so that its workers are killed with it."""
    os.setpgid(0, 0)
    return run(**order)


def pause(name, order):
    """Run until a file whose name has `name` is written, and stop before it is in its place."""
    put_in_place = storage.put_in_place

    def late(temporary, path):
        if name in path:
            print("written, and not in place", flush=True)
            time.sleep(60)
        put_in_place(temporary, path)

    storage.put_in_place = late
    run(**order)


if __name__ == "__main__":
    pause(sys.argv[2], json.loads(sys.argv[3]))
