"""The page of `bertzoo serve` in a real browser: headless Chromium, spoken to through its pipe."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import keras
import pytest

from bertzoo.models.backbone import Backbone
from bertzoo.serving.saved_model import export_saved_model
from bertzoo.tasks.multiple_choice import MultipleChoice
from bertzoo.tasks.question_answerer import QuestionAnswerer
from bertzoo.tasks.text_classifier import TextClassifier
from bertzoo.tasks.text_embedder import TextEmbedder
from bertzoo.tasks.token_classifier import TokenClassifier

pytest.importorskip("waitress")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def tasks():
    keras.utils.set_random_seed(31)
    toy = TextClassifier.from_preset("bert_toy")
    backbone = Backbone(toy.backbone.config.replace(initializer_range=0.3))
    tags = ("O", "B-LOC", "I-LOC")
    return {
        "tone": TextClassifier.from_backbone(backbone, toy.preprocessor, labels=["bad", "good"]),
        "names": TokenClassifier.from_backbone(backbone, toy.preprocessor, labels=tags),
        "where": QuestionAnswerer.from_backbone(backbone, toy.preprocessor),
        "pick": MultipleChoice.from_backbone(backbone, toy.preprocessor),
        "vector": TextEmbedder.from_backbone(backbone, toy.preprocessor),
    }


@pytest.fixture(scope="module")
def address(tasks, tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "toy"
    export_saved_model(tasks, directory, warm_up=False)
    server = subprocess.Popen(
        [sys.executable, "-m", "bertzoo", "serve", str(directory), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in server.stderr:
        if found := re.search(r"http://[0-9.]+:\d+/", line):
            break
    yield found.group()
    server.terminate()
    server.wait()


class Browser:
    """Chromium's DevTools protocol over the two pipes of --remote-debugging-pipe."""

    def __init__(self, folder):
        self.commands, self.events, self.number = None, None, 0
        to_read, self.commands = os.pipe()
        self.events, to_write = os.pipe()

        def place():
            # The browser reads 3 and writes 4; dup2 makes copies that survive the exec.
            os.dup2(to_read, 103), os.dup2(to_write, 104)
            os.dup2(103, 3), os.dup2(104, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={folder}"],
            preexec_fn=place, close_fds=False, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read), os.close(to_write)
        self.buffer, self.session = b"", None

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.buffer:
                part = os.read(self.events, 65536)
                assert part, "the browser is gone"
                self.buffer += part
            content, self.buffer = self.buffer.split(b"\0", 1)
            answer = json.loads(content)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        target = self.call("Target.createTarget", url=url)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]

    def evaluate(self, expression):
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{expression} stays false; " + str(self.evaluate(
            "document.body.innerText")))  # fmt: skip


@pytest.fixture(scope="module")
def browser(address, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open(address)
    browser.wait_for("document.querySelectorAll('#fields textarea').length > 0")
    yield browser
    browser.process.terminate()
    browser.process.wait()


def ask(browser, signature, **fields):
    """Choose a signature, type, press the button, and wait for the answer."""
    browser.evaluate(f"""
        byId("signature").value = {json.dumps(signature)};
        byId("signature").dispatchEvent(new Event("change"));
        for (const [id, text] of Object.entries({json.dumps(fields)})) byId(id).value = text;
        byId("answer").replaceChildren();
        byId("ask").click();
    """)
    browser.wait_for('byId("answer").childNodes.length > 0 || byId("error").textContent')
    assert browser.evaluate('byId("error").textContent') == ""


def test_a_text_is_classified(browser, tasks):
    ask(browser, "tone", **{"field-text": "a good film"})
    (expected,) = tasks["tone"].classify(["a good film"])
    assert browser.evaluate('document.querySelector("#answer h2").textContent') == expected.label
    meters = browser.evaluate('[...document.querySelectorAll("meter")].map((m) => m.value)')
    assert max(meters) == pytest.approx(expected.probability, abs=1e-4)


def test_entities_are_coloured_where_they_stand(browser, tasks):
    text = "👩‍👩‍👧 the cat sat in paris 東京 <b>on</b> the mat in london"
    ask(browser, "names", **{"field-text": text})
    (expected,) = tasks["names"].entities([text])
    assert expected, "the random tagger finds something"
    marks = browser.evaluate(
        '[...document.querySelectorAll("#answer mark")].map((mark) => '
        "[mark.firstChild.textContent, mark.lastChild.textContent])"
    )
    assert marks == [[entity.text, entity.label] for entity in expected]
    colour = browser.evaluate('document.querySelector("#answer mark").style.backgroundColor')
    assert colour.startswith("rgb(")
    # The text is whole, and markup in it is text.
    shown = browser.evaluate("""(() => {
        const line = document.querySelector("#answer .text").cloneNode(true);
        line.querySelectorAll("small").forEach((small) => small.remove());
        return line.textContent;
    })()""")
    assert shown == text
    assert browser.evaluate('document.querySelectorAll("#answer b").length') == 0


def test_the_answer_is_highlighted_in_its_passage(browser, tasks):
    question, passage = "where is the cat?", "😀 the cat sat on the mat in paris. it was great."
    ask(browser, "where", **{"field-text": question, "field-text_pair": passage})
    answer = tasks["where"].answer(question, passage)
    answer = answer[0] if isinstance(answer, list) else answer
    assert browser.evaluate('document.querySelector("#answer mark").textContent') == answer.text
    assert browser.evaluate('document.querySelector("#answer .text").textContent') == passage


def test_a_choice_is_made_among_lines(browser, tasks):
    text, choices = "the cat", ["sat on the mat", "was a film", "is in <i>paris</i>"]
    ask(browser, "pick", **{"field-text": text, "field-choices": "\n".join(choices)})
    (expected,) = tasks["pick"].choose([(text, choices)])
    shown = browser.evaluate('document.querySelector("#answer h2").textContent')
    assert shown == choices[expected.choice]
    meters = browser.evaluate('[...document.querySelectorAll("meter")].map((m) => m.value)')
    assert meters == pytest.approx(expected.probabilities, abs=1e-4)


def test_the_nearest_sentence_comes_first(browser):
    others = "the mat is on the cat\na good film\nlondon is a city in england"
    ask(browser, "vector", **{"field-text": "a good film", "others": others})
    lines = browser.evaluate(
        '[...document.querySelectorAll("#answer li")].map((l) => l.textContent)'
    )
    assert lines[0] == "1.000 a good film"
    scores = [float(line.split()[0]) for line in lines]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_an_error_is_shown_as_a_sentence(browser):
    ask(browser, "tone", **{"field-text": "ok"})
    browser.evaluate('byId("field-text").value = "x".repeat(2000000); byId("ask").click()')
    error = browser.wait_for('byId("error").textContent')
    assert "a request may have 1048576 bytes" in error
