"""As much of S3 as an upload needs, in memory, with every request noted."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class FakeS3:
    """``objects`` by ``bucket/key``; ``uploads`` not completed; ``refuse``: ``METHOD query`` to status."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.refuse: dict[str, int] = {}
        self.part_came = threading.Event()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.owner = self  # type: ignore[attr-defined]
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def steps(self) -> list[str]:
        """Requests as ``METHOD query-name``."""
        return [step for step, _, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # a part was dropped on its way
            super().handle()

    def _answer(self, status: int, body: str = "", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def _any(self) -> None:
        s3: FakeS3 = self.server.owner  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        step = f"{self.command} {next(iter(query), '')}".strip()
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            return
        with s3.lock:
            s3.requests.append((step, url.path, {k.lower(): v for k, v in self.headers.items()}))
            if step in s3.refuse:
                self._answer(s3.refuse[step], "<Error><Code>Refused</Code></Error>")
            else:
                self._serve(s3, step, url.path[1:], query, body)

    def _serve(self, s3: FakeS3, step: str, key: str, query: dict[str, list[str]], body: bytes) -> None:
        upload = query.get("uploadId", [""])[0]
        if step == "POST uploads":
            name = f"upload-{len(s3.requests)}"
            s3.uploads[name] = {}
            self._answer(200, f"<R><Bucket>b</Bucket><Key>k</Key><UploadId>{name}</UploadId></R>")
        elif upload and upload not in s3.uploads:
            self._answer(404, "<Error><Code>NoSuchUpload</Code></Error>")
        elif step == "PUT partNumber":
            s3.uploads[upload][int(query["partNumber"][0])] = body
            s3.part_came.set()
            self._answer(200, ETag='"part"')
        elif step == "POST uploadId":
            numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)<", body)]
            parts = s3.uploads.pop(upload)
            s3.objects[key] = b"".join(parts[n] for n in numbers)
            self._answer(
                200, '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>'
            )
        elif step == "DELETE uploadId":
            s3.uploads.pop(upload)
            self._answer(204)
        elif step == "PUT":
            s3.objects[key] = body
            self._answer(200, ETag='"whole"')
        else:
            self._answer(404)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815
