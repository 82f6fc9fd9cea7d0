"""A hub on 127.0.0.1: the paths of Hugging Face's that downloading and committing use, and files.

Faults are switched on by a part of the path: `hub.faults["model.safetensors"] = "truncate"`.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse

LARGE = (".safetensors", ".bin", ".h5", ".spm")
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in to the wireless network.</body></html>"
SECONDS_TO_STALL = 60  # longer than any test waits; the process that waits is killed


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Hub:
    """Repositories, single files, the faults to make, and what was asked for."""

    def __init__(self):
        self.repositories = {}  # name -> [(commit, {file: content}), ...], the newest last
        self.files = {}  # path -> content, for archives
        self.redirects = {}  # path -> address
        self.faults = {}  # part of a path -> what goes wrong there
        self.private = set()
        self.gated = set()
        self.requests = []  # (method, path, headers)
        self.large_files = {}  # SHA-256 -> content, uploaded before the commit
        self.stalled = threading.Event()
        self.release = threading.Event()

    def commit(self, name, files):
        versions = self.repositories.setdefault(name, [])
        commit = hashlib.sha1(repr((name, len(versions))).encode()).hexdigest()
        versions.append((commit, dict(files)))
        return commit

    def gets(self, part=""):
        return [path for method, path, _ in self.requests if method == "GET" and part in path]

    def fault_at(self, path):
        return next((fault for part, fault in self.faults.items() if part in path), None)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *arguments):
        pass

    def answer(self, status, content=b"", headers=None, length=None):
        content = json.dumps(content).encode() if isinstance(content, dict | list) else content
        self.send_response(status)
        headers = {"Content-Type": "application/json", **(headers or {})}
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def lower_headers(self):
        return {key.lower(): value for key, value in self.headers.items()}

    def deny(self, status, code):
        self.answer(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urllib.parse.unquote(self.path.split("?")[0])
        self.hub.requests.append((self.command, path, self.lower_headers()))
        fault = self.hub.fault_at(path)
        if fault == "page":
            return self.answer(200, PAGE, {"Content-Type": "text/html"})
        if isinstance(fault, int):
            return self.answer(fault, {"error": "no"})
        if path in self.hub.redirects:
            return self.answer(302, b"", {"Location": self.hub.redirects[path]})
        if path in self.hub.files:
            return self.send_file(path, self.hub.files[path], {}, fault)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.list_files(match[1], match[2])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", path):
            return self.resolve(match[1], match[2], match[3], fault)
        return self.deny(404, "RepoNotFound")

    def version(self, name, revision):
        """Return (commit, files), or None after the answer that says why not."""
        versions = self.hub.repositories.get(name)
        if versions is None or (name in self.hub.private and not self.headers["Authorization"]):
            return self.deny(401, "RepoNotFound")
        if name in self.hub.gated:
            return self.deny(403, "GatedRepo")
        if revision in (None, "main"):
            return versions[-1]
        for commit, files in versions:
            if commit == revision:
                return commit, files
        return self.deny(404, "RevisionNotFound")

    def list_files(self, name, revision):
        version = self.version(name, revision)
        if version is None:
            return
        siblings = []
        for file, content in version[1].items():
            entry = {"rfilename": file, "size": len(content), "blobId": git_sha1(content)}
            if file.endswith(LARGE):
                entry["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        self.answer(200, {"id": name, "sha": version[0], "siblings": siblings})

    def resolve(self, name, revision, file, fault):
        version = self.version(name, revision)
        if version is None:
            return
        commit, files = version
        if file not in files:
            return self.deny(404, "EntryNotFound")
        content = files[file]
        etag = sha256(content) if file.endswith(LARGE) else git_sha1(content)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "X-Linked-Size": str(len(content)),
                   "X-Linked-Etag": f'"{etag}"'}  # fmt: skip
        self.send_file(file, content, headers, fault)

    def send_file(self, name, content, headers, fault):
        headers = {"Content-Type": "application/octet-stream", **headers}
        if self.command == "HEAD":
            return self.answer(200, content, headers)
        if fault == "page instead":  # only the body: the headers are those of the file
            page = PAGE.ljust(len(content), b" ")[: len(content)]
            return self.answer(200, page, headers)
        if fault == "short":  # says itself that it is shorter than the hub's list says
            return self.answer(200, content[: len(content) // 2], headers)
        if fault == "truncate":  # the connection ends in the middle
            self.answer(200, content[: len(content) // 2], headers, length=len(content))
            self.close_connection = True
            return None
        if fault == "flip":
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 1])
            return self.answer(200, content[:middle] + flipped + content[middle + 1 :], headers)
        if fault in ("stall", "slow"):
            half = len(content) // 2
            self.answer(200, content[:half], headers, length=len(content))
            self.wfile.flush()
            self.hub.stalled.set()
            self.hub.release.wait(SECONDS_TO_STALL if fault == "stall" else 1.0)
            self.wfile.write(content[half:])
            return None
        return self.answer(200, content, headers)

    # Committing.
    def do_POST(self):
        path = urllib.parse.unquote(self.path.split("?")[0])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.requests.append((self.command, path, self.lower_headers()))
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if not self.headers["Authorization"]:
            return self.answer(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            if name in self.hub.repositories:
                return self.answer(409, {"url": f"https://huggingface.co/{name}"})
            self.hub.commit(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(name)
            return self.answer(200, {"url": f"https://huggingface.co/{name}"})
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", path):
            files = [{"path": file["path"], "shouldIgnore": False,
                      "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular"}
                     for file in json.loads(body)["files"]]  # fmt: skip
            return self.answer(200, {"files": files})
        if path.endswith(".git/info/lfs/objects/batch"):
            host = f"http://{self.headers['Host']}"
            objects = [{**item, "actions": {"upload": {"href": f"{host}/lfs/{item['oid']}"}}}
                       for item in json.loads(body)["objects"]]  # fmt: skip
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            return self.take_commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self.answer(404, {"error": "unknown path"})

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.large_files[self.path.rpartition("/")[2]] = content
        self.answer(200)

    def take_commit(self, name, lines):
        files = dict(self.hub.repositories[name][-1][1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large_files[value["oid"]]
        commit = self.hub.commit(name, files)
        url = f"http://{self.headers['Host']}/{name}/commit/{commit}"
        self.answer(200, {"success": True, "commitOid": commit, "commitUrl": url})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what the tests are about."""


def start(hub):
    """Serve a hub on a free port; return the address and how to stop it."""
    server = Server(("127.0.0.1", 0), Handler)
    server.hub = hub
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()

    def stop():
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()

    return f"http://127.0.0.1:{server.server_port}", stop


def wait_until(condition, seconds=30):
    """Wait for something that happens in another process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
