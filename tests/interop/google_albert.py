"""ALBERT's preprocessing with the sentencepiece library, as google-research/albert describes it.

    python google_albert.py MODEL TEXTS IDS [--keep-case] [--no-quotes]

TEXTS is a JSON list of strings, IDS the file to write: a JSON list of lists. A script of its own,
since the library's versions up to 0.1.99, which Google's code ran with and which are the reference,
end a process that has TensorFlow in it.
"""

import json
import sys
import unicodedata

import sentencepiece

WORD_START = "\u2581"


def preprocess(text, lowercase=True, quotes=True):
    text = " ".join(text.split())
    if quotes:
        text = text.replace("``", '"').replace("''", '"')
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.lower() if lowercase else text


def pieces_of(model, text):
    result = []
    for piece in model.EncodeAsPieces(text):
        if len(piece) < 2 or piece[-1] != "," or not piece[-2].isdigit():
            result.append(piece)
            continue
        number = model.EncodeAsPieces(piece[:-1].replace(WORD_START, ""))
        if piece[0] != WORD_START and number[0][0] == WORD_START:
            number = ([number[0][1:]] if number[0] != WORD_START else []) + number[1:]
        result += [*number, ","]
    return result


def encode(model, text, lowercase=True, quotes=True):
    pieces = pieces_of(model, preprocess(text, lowercase, quotes))
    return [model.PieceToId(piece) for piece in pieces]


def main():
    model = sentencepiece.SentencePieceProcessor()
    model.Load(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as file:
        texts = json.load(file)
    options = {"lowercase": "--keep-case" not in sys.argv, "quotes": "--no-quotes" not in sys.argv}
    ids = [encode(model, text, **options) for text in texts]
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        json.dump({"version": sentencepiece.__version__, "ids": ids}, file)


if __name__ == "__main__":
    main()
