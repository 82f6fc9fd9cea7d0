"""A server to try an export with: TensorFlow Serving's REST paths, and a page to type a text.

For development and tests on one machine; production is TensorFlow Serving. `Application` is plain
WSGI, `serve` runs it with waitress.
"""

import base64
import concurrent.futures
import hashlib
import ipaddress
import json
import logging
import pathlib
import re

from bertzoo.serving import models, rest

LOG = logging.getLogger(__name__)
PAGE = pathlib.Path(__file__).with_name("page.html")
MEGABYTE = 2**20
REASONS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    411: "Length Required", 413: "Content Too Large", 414: "URI Too Long",
    500: "Internal Server Error", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)"
    r"(/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<rest>/metadata|:[a-zA-Z_]*)?"
)
_KEYS = {
    "predict": ("signature_name", "instances", "inputs"),
    "classify": ("signature_name", "examples", "context"),
    "regress": ("signature_name", "examples", "context"),
}


class Application:
    """A model's REST API as a WSGI application.

    Args:
        model: A `models.ModelFolder`.
        host: Where it listens; on loopback only requests to loopback names are answered, so that
            no web page can reach it through a name of its own.
        max_body: Most bytes of a request.
        timeout: Seconds after which a client is told that an answer takes too long.
        threads: Answers computed at once.
    """

    def __init__(self, model, host="127.0.0.1", max_body=MEGABYTE, timeout=60.0, threads=4):
        self.model = model
        self.is_local = _is_loopback(host)
        self.max_body = max_body
        self.timeout = timeout
        self.page = PAGE.read_bytes()
        self.policy = content_security_policy(self.page.decode("utf-8"))
        self.workers = concurrent.futures.ThreadPoolExecutor(threads, "answers")

    def __call__(self, environ, start_response):
        """Answer one request."""
        headers = []
        try:
            content, kind = self.answer(environ, headers)
            status = 200
        except rest.RequestError as error:
            status, kind = error.status, "application/json"
            content = json.dumps({"error": error.message}).encode()
        except Exception:  # the client is told nothing of the inside
            LOG.exception("a request failed")
            status, kind = 500, "application/json"
            content = json.dumps({"error": "internal error; the server's log says more"}).encode()
        if status == 405:
            headers.append(("Allow", "POST" if environ["REQUEST_METHOD"] == "GET" else "GET"))
        headers += [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(content))),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ]
        start_response(f"{status} {REASONS[status]}", headers)
        return [content]

    def answer(self, environ, headers):
        """Return content and media type of the answer; `headers` may grow."""
        self._check_host(environ)
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if path == "/":
            if method != "GET":
                raise rest.RequestError(405, f"{method} is not answered here")
            headers.append(("Content-Security-Policy", self.policy))
            return self.page, "text/html"
        if path == "/v1/models":
            found: object = {"models": [self.model.name]}
            verb = None
        else:
            match = _PATH.fullmatch(path)
            if match is None:
                raise rest.RequestError(404, "there is nothing at this path; see /v1/models/NAME")
            if match["model"] != self.model.name:
                raise rest.RequestError(404, f"there is no model {match['model']!r} here")
            verb = match["rest"]
        if verb is None or verb == "/metadata":
            if method != "GET":
                raise rest.RequestError(405, f"{method} is not answered here")
            if path != "/v1/models":
                found = self._metadata(match) if verb else self._status(match)
        else:
            if verb[1:] not in _KEYS:
                raise rest.RequestError(404, f"the verb must be predict, classify or regress; "
                                             f"got {verb[1:]!r}")  # fmt: skip
            if method != "POST":
                raise rest.RequestError(405, f"{method} is not answered here")
            found = self._ask(verb[1:], self._version(match), self._body(environ))
        return json.dumps(found, ensure_ascii=False, allow_nan=False).encode(), "application/json"

    def _check_host(self, environ):
        host = environ.get("HTTP_HOST")
        if self.is_local and host and not _is_loopback(_without_port(host)):
            raise rest.RequestError(403, "this server answers on loopback addresses only")

    def _body(self, environ):
        length = environ.get("CONTENT_LENGTH") or ""
        if not length.isdigit():
            raise rest.RequestError(411, "a request with a body needs its length")
        if int(length) > self.max_body:
            raise rest.RequestError(413, f"a request may have {self.max_body} bytes; got {length}")
        content = environ["wsgi.input"].read(int(length))
        if len(content) != int(length):
            raise rest.wrong("the body is shorter than its length says")
        return content

    def _version(self, match):
        number = match["version"]
        if number is not None and not (number.isascii() and number.isdigit() and len(number) < 20):
            raise rest.wrong(f"a version is a number; got {number!r}")
        return self.model.find(None if number is None else int(number), match["label"])

    def _ask(self, verb, version, content):
        body = rest.parse_body(content, _KEYS[verb])
        name = rest.signature_name(body)
        if verb == "predict":
            arrays, is_rows = rest.predict_inputs(body, version.inputs(name))
            outputs = self._run(version, name, arrays)
            return rest.prediction(outputs, is_rows)
        if list(version.inputs(name)) != ["inputs"]:
            raise rest.wrong(f"signature {name!r} does not take examples; choose one that does "
                             "with signature_name")  # fmt: skip
        column = models.example_column(rest.examples(body))
        reply = rest.classification if verb == "classify" else rest.regression
        return reply(self._run(version, name, {"inputs": column}))

    def _run(self, version, name, arrays):
        import tensorflow as tf

        future = self.workers.submit(version.run, name, arrays)
        try:
            return future.result(self.timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise rest.RequestError(504, f"no answer within {self.timeout} seconds") from None
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
            raise rest.wrong(f"the inputs cannot be computed: {_reason(error.message)}") from None

    def _status(self, match):
        wanted = self._version(match).number if match["version"] or match["label"] else None
        states = [(number, "AVAILABLE", "OK", "") for number in self.model.loaded]
        states += [(n, "END", "UNKNOWN", "cannot be loaded") for n in self.model.failed]
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": code, "error_message": message},
                }
                for number, state, code, message in sorted(states, reverse=True)
                if wanted in (None, number)
            ]
        }

    def _metadata(self, match):
        version = self._version(match)
        signatures = {
            name: {
                "inputs": _tensor_infos(signature.inputs),
                "outputs": _tensor_infos(signature.outputs),
                "method_name": "tensorflow/serving/predict",
            }
            for name, signature in version.signatures.items()
        }
        return {
            "model_spec": {
                "name": self.model.name, "signature_name": "", "version": str(version.number),
            },
            "metadata": {"signature_def": {"signature_def": signatures}},
        }  # fmt: skip


def serve(directory, host="127.0.0.1", port=8501, labels=None, announce=print, **limits):
    """Serve a model over HTTP until interrupted; new versions are loaded as they appear.

    Args:
        directory: Folder of the model, as `export_saved_model` makes it.
        host: Where to listen; loopback by default.
        port: 8501 is TensorFlow Serving's; 0 for a free one.
        labels: Label to version, which is then kept loaded.
        announce: Called with one line when it listens.
        **limits: `max_body`, `timeout` and `threads` of `Application`.

    Raises:
        ValueError: If the folder has no version that can be loaded.
        ModuleNotFoundError: If waitress is not installed: `pip install 'bertzoo[serve]'`.
    """
    import waitress

    model = models.ModelFolder(directory, labels)
    application = Application(model, host, **limits)
    server = waitress.create_server(
        application,
        host=host,
        port=port,
        threads=limits.get("threads", 4) + 4,
        # Larger ones are refused before they are read whole; those between get our JSON.
        max_request_body_size=4 * application.max_body,
        max_request_header_size=64 * 1024,
        channel_timeout=max(30, int(application.timeout)),
        ident=None,
        expose_tracebacks=False,
    )
    model.watch()
    address = f"http://{host}:{server.effective_port}"
    announce(f"{model.name}, version {max(model.loaded)}: {address}/ and {address}/v1/models/"
             f"{model.name}:predict")  # fmt: skip
    try:
        server.run()
    finally:
        model.close()
        server.close()


def _reason(message):
    r"""Return the line that says what is wrong with an input; the others name graph nodes.

    >>> _reason("Graph execution error:\nDetected at node A\nassertion failed: [too long] [x]")
    'too long'
    """
    inner = ("Graph execution error", "Detected at", "<stack traces", "[[", "File ")
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith(inner)] or ["invalid values"]
    asserted = re.search(r"assertion failed: \[(.*?)\]", lines[0])
    line = asserted.group(1) if asserted else re.sub(r"\{\{.*?\}\}", "", lines[0]).strip()
    return line[:200]


def content_security_policy(page):
    """Return a policy that lets the page's own script and styles run, and nothing else."""
    hashes = {}
    for tag in ("script", "style"):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()) for part in parts]
        hashes[tag] = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _tensor_infos(infos):
    return {
        key: {
            "dtype": info.dtype,
            "tensor_shape": {
                "dim": [{"size": str(-1 if size is None else size), "name": ""}
                        for size in info.shape],
                "unknown_rank": False,
            },
            "name": info.tensor,
        }
        for key, info in infos.items()
    }  # fmt: skip


def _is_loopback(host):
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _without_port(host):
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
