"""Users, and the three ways of being one: API token, JWT, cookie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from types import ModuleType
from typing import Any

from starlette.requests import Request

from stoq_provider.testing import MEDUSA_EMAIL, MEDUSA_OTHER_EMAIL, MEDUSA_PASSWORD, MEDUSA_TOKEN
from stoq_provider.testing.clock import JobClock
from stoq_provider.testing.medusa.basics import Ids, Unauthorized, iso_ms

TOKEN_LIFETIME = 24 * 3600.0  # S: a JWT lives 24 h
SESSION_LIFETIME = 10 * 3600.0  # M: the cookie's Expires


@dataclass
class User:
    """An admin user."""

    id: str
    email: str
    password: str
    api_token: str | None
    created_at: float

    def view(self) -> dict[str, Any]:
        """As the API shows it: the API token in clear (M)."""
        created = iso_ms(self.created_at)
        return {
            "id": self.id,
            "created_at": created,
            "updated_at": created,
            "deleted_at": None,
            "role": "member",
            "email": self.email,
            "first_name": None,
            "last_name": None,
            "api_token": self.api_token,
            "metadata": None,
        }


class Auth:
    """All users, tokens and sessions. Tokens expire by the job clock, so tests can let them."""

    def __init__(self, clock: JobClock, ids: Ids, seed: str) -> None:
        self._clock = clock
        self._seed = seed
        self._secrets = 0
        self._sessions: dict[str, tuple[str, float]] = {}
        self._cookies = 0
        self.lifetime = TOKEN_LIFETIME
        now = clock.now()
        made = (
            User(ids.new("usr", now), MEDUSA_EMAIL, MEDUSA_PASSWORD, MEDUSA_TOKEN, now),
            User(ids.new("usr", now), MEDUSA_OTHER_EMAIL, MEDUSA_PASSWORD, None, now),
        )
        self.users = {user.id: user for user in made}

    def expire_tokens(self) -> None:
        """Make every JWT given so far invalid."""
        self._secrets += 1

    def login(self, email: str, password: str) -> User:
        """The user of a login. Raises `Unauthorized`."""
        for user in self.users.values():
            if (user.email, user.password) == (email, password):
                return user
        raise Unauthorized

    def token(self, user: User) -> str:
        """A JWT as the server signs it: HS256, `user_id`, `domain`, `iat`, `exp` (M)."""
        now = int(self._clock.now())
        claims = {"user_id": user.id, "domain": "admin", "iat": now, "exp": int(now + self.lifetime)}
        return str(_jwt().encode(claims, self._secret(), algorithm="HS256"))

    def user_of(self, request: Request) -> User:
        """Who asks. An API token as Bearer is nobody (M). Raises `Unauthorized`."""
        user = (
            self._by_api_token(request.headers.get("x-medusa-access-token"))
            or self._by_jwt(request.headers.get("authorization", ""))
            or self.users.get(self._session(request) or "")
        )
        if user is None:
            raise Unauthorized
        return user

    def has_session(self, request: Request) -> bool:
        """Whether the request carries a living session: such an answer sets no new cookie (M)."""
        return self._session(request) is not None

    def cookie(self, user: User | None = None) -> tuple[str, float]:
        """A fresh session id and the seconds it lives; it belongs to a user after a login only."""
        self._cookies += 1
        value = "s%3A" + hashlib.sha256(f"{self._seed}|{self._cookies}".encode()).hexdigest()[:43]
        if user is not None:
            self._sessions[value] = (user.id, self._clock.now() + SESSION_LIFETIME)
        return value, SESSION_LIFETIME

    def _by_api_token(self, token: str | None) -> User | None:
        if not token:
            return None
        return next((user for user in self.users.values() if user.api_token == token), None)

    def _by_jwt(self, header: str) -> User | None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return None
        jwt = _jwt()
        try:
            # Not by this machine's clock: the job clock may be far from it.
            claims = jwt.decode(
                token.strip(),
                self._secret(),
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        if claims.get("exp", 0) <= self._clock.now():
            return None
        return self.users.get(claims.get("user_id", ""))

    def _session(self, request: Request) -> str | None:
        """Id of the user whose session the cookie is."""
        try:
            jar = SimpleCookie(request.headers.get("cookie", ""))
        except CookieError:
            return None
        held = self._sessions.get(jar["connect.sid"].value) if "connect.sid" in jar else None
        return held[0] if held and held[1] > self._clock.now() else None

    def _secret(self) -> str:
        return hashlib.sha256(f"{self._seed}|{self._secrets}".encode()).hexdigest()


def _jwt() -> ModuleType:
    """Loaded on first use: it draws in a library of cryptography, for which no start should wait."""
    import jwt

    return jwt
