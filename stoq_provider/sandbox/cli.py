"""The console script `stoq-sandbox`."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoq_provider.sandbox import Sandbox


def parser() -> argparse.ArgumentParser:
    """Arguments of the script."""
    made = argparse.ArgumentParser(
        prog="stoq-sandbox", description="A local server that speaks the documented STOQ API v2."
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    made.add_argument("--port", type=int, default=8640, help="port of the API; 0 takes a free one")
    made.add_argument("--files-port", type=int, default=8641, help="port of downloads; 0 takes a free one")
    made.add_argument("--time-scale", type=float, default=1.0, help="how much faster than real time jobs run")
    made.add_argument("--seed", type=int, default=7, help="seed of the shop's records")
    made.add_argument("--points-limit", type=int, default=360, help="points per window")
    made.add_argument("--window-seconds", type=float, default=60.0, help="length of a window")
    made.add_argument("--ready-file", type=Path, help="write origin, files_origin and key here when serving")
    return made


def connection_json(sandbox: Sandbox) -> str:
    """The connection as Airflow takes it from `AIRFLOW_CONN_STOQ_DEFAULT`."""
    return json.dumps({"conn_type": "stoq", "host": sandbox.origin, "password": sandbox.key})


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _announce(sandbox: Sandbox, ready_file: Path | None) -> None:
    print(f"API origin:   {sandbox.origin}")
    print(f"File origin:  {sandbox.files_origin}")
    print(f"export AIRFLOW_CONN_STOQ_DEFAULT='{connection_json(sandbox)}'", flush=True)
    if ready_file is not None:
        facts = {"origin": sandbox.origin, "files_origin": sandbox.files_origin, "key": sandbox.key}
        # A reader must never see half a file.
        partial = ready_file.with_name(f".{ready_file.name}.partial")
        partial.write_text(json.dumps(facts), encoding="utf-8")
        partial.replace(ready_file)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    arguments = parser().parse_args(argv)
    try:
        from stoq_provider.sandbox import Sandbox
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    if not is_loopback(arguments.host):
        print(f"Warning: listening on {arguments.host}, which others can reach.", file=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sandbox = Sandbox(
        host=arguments.host,
        port=arguments.port,
        files_port=arguments.files_port,
        time_scale=arguments.time_scale,
        seed=arguments.seed,
        points_limit=arguments.points_limit,
        window_seconds=arguments.window_seconds,
    )
    try:
        with sandbox:
            _announce(sandbox, arguments.ready_file)
            stop.wait()
    except OSError as error:
        print(f"The sandbox can't listen: {error}", file=sys.stderr)
        return 1
    print("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
