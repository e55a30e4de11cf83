"""The console script `stoq-sandbox`."""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

SITES = ("medusa", "surecart", "printstudio")

if TYPE_CHECKING:
    from stoq_provider.testing import Sandbox


def parser() -> argparse.ArgumentParser:
    """Arguments of the script."""
    made = argparse.ArgumentParser(
        prog="stoq-sandbox",
        description="A local server that speaks the APIs of STOQ, Medusa v1, SureCart and PrintStudio.",
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    made.add_argument("--port", type=int, default=8640, help="port of the API; 0 takes a free one")
    made.add_argument("--files-port", type=int, default=8641, help="port of downloads; 0 takes a free one")
    for number, name in enumerate(SITES, start=2):
        text = f"port of {name}; default: {number} after that of the API, or a free one"
        made.add_argument(f"--{name}-port", type=int, help=text)
    made.add_argument("--time-scale", type=float, default=1.0, help="how much faster than real time jobs run")
    made.add_argument("--seed", type=int, default=7, help="seed of the shop's records")
    made.add_argument("--points-limit", type=int, default=360, help="points per window")
    made.add_argument("--window-seconds", type=float, default=60.0, help="length of a window")
    made.add_argument("--ready-file", type=Path, help="write origins and keys here when serving")
    return made


def connections(sandbox: Sandbox) -> dict[str, str]:
    """Connections as Airflow takes them from `AIRFLOW_CONN_...`, by the names of those variables."""
    made: dict[str, dict[str, Any]] = {
        "stoq": {"host": sandbox.origin, "password": sandbox.key},
        "medusa": {"host": sandbox.medusa_origin, "password": sandbox.medusa_token},
        "surecart": {"host": sandbox.surecart_origin, "password": sandbox.surecart_key},
        "printstudio": {"host": sandbox.printstudio_origin, "password": sandbox.printstudio_key},
    }
    return {
        f"AIRFLOW_CONN_{name.upper()}_DEFAULT": json.dumps({"conn_type": name, **facts})
        for name, facts in made.items()
    }


def facts_of(sandbox: Sandbox) -> dict[str, str]:
    """Origins and keys, for the ready file."""
    return {
        "origin": sandbox.origin,
        "files_origin": sandbox.files_origin,
        "key": sandbox.key,
        "medusa_origin": sandbox.medusa_origin,
        "medusa_token": sandbox.medusa_token,
        "medusa_email": sandbox.medusa_email,
        "medusa_password": sandbox.medusa_password,
        "surecart_origin": sandbox.surecart_origin,
        "surecart_key": sandbox.surecart_key,
        "printstudio_origin": sandbox.printstudio_origin,
        "printstudio_key": sandbox.printstudio_key,
    }


def site_port(arguments: argparse.Namespace, name: str) -> int:
    """Port of another system: as given, or after the API's, or a free one where that is free too."""
    given: int | None = getattr(arguments, f"{name}_port")
    if given is not None:
        return given
    port: int = arguments.port
    return port and port + 2 + SITES.index(name)


def blocked_ports(arguments: argparse.Namespace) -> list[str]:
    """Name the ports that can't be had, each with the option that chooses another."""
    ports = {"--port": arguments.port, "--files-port": arguments.files_port}
    ports.update({f"--{name}-port": site_port(arguments, name) for name in SITES})
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    blocked = []
    for option, port in ports.items():
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the sandbox itself binds: connections that are just ending do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((arguments.host, port))
            except OSError:
                blocked.append(f"{port} ({option})")
    return blocked


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _announce(sandbox: Sandbox, ready_file: Path | None) -> None:
    print(f"API origin:   {sandbox.origin}")
    print(f"File origin:  {sandbox.files_origin}")
    for name, value in connections(sandbox).items():
        print(f"export {name}='{value}'", flush=True)
    if ready_file is not None:
        # A reader must never see half a file.
        partial = ready_file.with_name(f".{ready_file.name}.partial")
        partial.write_text(json.dumps(facts_of(sandbox)), encoding="utf-8")
        partial.replace(ready_file)


def _refusal(arguments: argparse.Namespace, error: OSError) -> str:
    blocked = blocked_ports(arguments)
    if not blocked:
        return f"The sandbox can't start: {error}"
    return (
        f"The sandbox can't listen on {arguments.host} at port {', '.join(blocked)}: {error}. Stop what "
        "listens there, another sandbox perhaps, or start stoq-sandbox with other numbers for these options; "
        "0 takes a free port. `make sandbox` takes no options; it starts .venv/bin/stoq-sandbox."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    arguments = parser().parse_args(argv)
    try:
        from stoq_provider.testing import Sandbox
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    if not is_loopback(arguments.host):
        print(f"Warning: listening on {arguments.host}, which others can reach.", file=sys.stderr)
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: received.append(number))
    sandbox = Sandbox(
        host=arguments.host,
        port=arguments.port,
        files_port=arguments.files_port,
        medusa_port=site_port(arguments, "medusa"),
        surecart_port=site_port(arguments, "surecart"),
        printstudio_port=site_port(arguments, "printstudio"),
        time_scale=arguments.time_scale,
        seed=arguments.seed,
        points_limit=arguments.points_limit,
        window_seconds=arguments.window_seconds,
    )
    try:
        with sandbox:
            _announce(sandbox, arguments.ready_file)
            # Not a lock: a thread of the server may take the signal, and Python tells the main thread of it
            # once that one runs again.
            while not received:
                time.sleep(0.1)
    except OSError as error:
        print(_refusal(arguments, error), file=sys.stderr)
        return 1
    print("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
