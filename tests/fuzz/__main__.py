"""
Look for input that breaks what reads a server's bytes, led by the code that it reaches.

    python -m tests.fuzz answers|records [options of libFuzzer]

What has reached something new is kept in ``.fuzz/``, where the next run goes on; so is what broke something,
which ``python -m tests.fuzz TARGET FILE`` shows again. Needs atheris.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("There is no atheris here. 'make fuzz' installs it: Linux, Python 3.11 or newer.")

with atheris.instrument_imports(include=["stoq_provider"]):
    from stoq_provider.core.http import Response
    from tests.fuzz.answers import check_answer
    from tests.fuzz.counting import check_counts
    from tests.fuzz.strategies import KEYS, NAMES, NUMBERS, WORDS, places

ROOT = Path(__file__).parents[2]
LIMITS = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=4096")
"""Seconds of one input, megabytes of all, and bytes."""


def answer(data: bytes) -> None:
    """Read status, headers, an empty line and a body, as in HTTP."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    pairs = (line.partition(":") for line in lines)
    status = int(first) if first in map(str, range(100, 1000)) else 200
    check_answer(Response(status, {name.lower(): value.strip() for name, _, value in pairs}, body))


VALUES = (None, True, 1.5, [], [[]], {}, [{}], *NUMBERS, *WORDS)


def change_answer(data: bytes, most: int, seed: int) -> bytes:
    """Put another value into the JSON of an answer, which bytes by chance seldom do; or change some bytes."""
    head, gap, body = data.partition(b"\n\n")
    chance = random.Random(seed)
    try:
        payload = json.loads(body)
        inside, key = chance.choice([*places(payload)])
    except (ValueError, LookupError, RecursionError):
        return bytes(atheris.Mutate(data, most))
    if chance.random() < 0.3:
        return bytes(atheris.Mutate(data, most))
    inside[key if chance.random() < 0.5 else chance.choice(KEYS)] = chance.choice(VALUES)
    return (head + gap + json.dumps(payload).encode())[:most]


def records(data: bytes) -> None:
    """Read where the rest is cut, in parts of 256, and the rest."""
    cuts, text = data[:4], data[4:]
    check_counts(text, [cut * len(text) // 256 for cut in cuts])


def recorded_answers() -> Iterator[bytes]:
    """Write down what a real server answered."""
    for file in sorted((ROOT / "tests" / "recordings" / "medusa").glob("*.json")):
        for recording in json.loads(file.read_text()):
            response = recording.get("response", {"status": 204})
            body = json.dumps(response["json"]) if "json" in response else response.get("text", "")
            names = "".join(f"\n{name}: {value}" for name, value in response.get("headers", {}).items())
            yield f"{response['status']}{names}\n\n{body}"[:4096].encode()


def files() -> Iterator[bytes]:
    """Make small files of all kinds."""
    for end in (b"\n", b"\r\n", b"\r"):
        for begin in (b"", b"\xef\xbb\xbf"):
            yield (
                b"\x40\x80\xc0\xff" + begin + end.join([b"id,name", b'1,"a""b"', b'2,"c' + end + b'd"', end])
            )


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]], Sequence[str]]] = {
    "answers": (answer, recorded_answers, (*KEYS, *NAMES, *WORDS)),
    "records": (records, files, ('"', '""', "\r\n", "\r", "\n", "\ufeff")),
}
"""The test, what it begins with, and what to put in."""


def main(name: str, *options: str) -> None:
    """Run libFuzzer, which ends the process."""
    test, seeds, words = TARGETS[name]
    place = ROOT / ".fuzz" / name
    place.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (place / sha256(seed).hexdigest()).write_bytes(seed)
    encoded = (word.encode("utf-8", "replace") for word in words if word)
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in encoded]
    dictionary = place.with_suffix(".words")
    dictionary.write_text("\n".join(lines))
    given = [option for option in options if not option.startswith("-")] or [str(place)]
    flags = [option for option in options if option.startswith("-")]
    arguments = [*LIMITS, f"-dict={dictionary}", f"-artifact_prefix={place.parent}{os.sep}", *flags, *given]
    mutator = {"custom_mutator": change_answer} if test is answer else {}
    atheris.Setup([sys.argv[0], *arguments], test, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    main(*sys.argv[1:])
