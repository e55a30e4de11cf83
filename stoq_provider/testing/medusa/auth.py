"""Users, and the two ways of being one: an API token, or a login's JWT."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoq_provider.testing import MEDUSA_EMAIL, MEDUSA_OTHER_EMAIL, MEDUSA_PASSWORD, MEDUSA_TOKEN
from stoq_provider.testing.clock import JobClock
from stoq_provider.testing.medusa.basics import Ids, Unauthorized

TOKEN_LIFETIME = 24 * 3600  # S: a JWT lives 24 h


@dataclass(frozen=True)
class User:
    """An admin user."""

    id: str
    email: str
    password: str
    api_token: str | None


class Auth:
    """All users and tokens. Tokens expire by the job clock, so tests can let them."""

    def __init__(self, clock: JobClock, ids: Ids) -> None:
        self._clock = clock
        now = clock.now()
        self._users = (
            User(ids.new("usr", now), MEDUSA_EMAIL, MEDUSA_PASSWORD, MEDUSA_TOKEN),
            User(ids.new("usr", now), MEDUSA_OTHER_EMAIL, MEDUSA_PASSWORD, None),
        )
        self._tokens: dict[str, tuple[User, float]] = {}

    def expire_tokens(self) -> None:
        """Make every JWT given so far invalid."""
        self._tokens.clear()

    def token(self, email: str, password: str) -> str:
        """
        A token in the form of the server's JWT: HS256, `user_id`, `domain`, `iat`, `exp` (M).

        It is known by heart, so its signature signs nothing. Raises `Unauthorized`.
        """
        for user in self._users:
            if (user.email, user.password) == (email, password):
                break
        else:
            raise Unauthorized
        now = int(self._clock.now())
        claims = {"user_id": user.id, "domain": "admin", "iat": now, "exp": now + TOKEN_LIFETIME}
        head = {"alg": "HS256", "typ": "JWT"}
        token = f"{_part(head)}.{_part(claims)}.{secrets.token_urlsafe(32)}"
        self._tokens[token] = user, now + TOKEN_LIFETIME
        return token

    def user_of(self, headers: Mapping[str, str]) -> User:
        """Who asks. An API token as Bearer is nobody (M). Raises `Unauthorized`."""
        key = headers.get("x-medusa-access-token")
        for user in self._users:
            if key and user.api_token == key:
                return user
        scheme, _, token = headers.get("authorization", "").partition(" ")
        held = self._tokens.get(token.strip())
        if scheme.lower() != "bearer" or held is None or held[1] <= self._clock.now():
            raise Unauthorized
        return held[0]


def _part(claims: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
