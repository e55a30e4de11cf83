"""
The credentials of a connection: its key, or a token that its user name and password are traded for.

A token is fetched when it is first needed, kept in memory, and renewed once when the server refuses it.
"""

from __future__ import annotations

from stoq_provider.core.http import Decoded, MalformedResponse, Problem, ProblemKind, RateLimit, Request
from stoq_provider.systems.base import System
from stoq_provider.systems.payload import origin_of
from stoq_provider.transport.settings import ConnectionSettings


class LoginFailed(Exception):
    """No token could be had, so the call it was for was not sent. Carries what counts as its response."""

    def __init__(self, problem: Problem, rate_limit: RateLimit = RateLimit()) -> None:  # noqa: B008 - frozen
        super().__init__(problem.text)
        self.response = Decoded(problem=problem, rate_limit=rate_limit)


class Login:
    """Headers for the shop's own origin."""

    def __init__(self, settings: ConnectionSettings, system: System) -> None:
        self._settings = settings
        self._system = system
        self.token: str | None = None
        """The token that calls carry now."""
        self._request: Request | None = None
        if settings.login is not None:
            self._request = system.login_request(settings.origin, settings.login, settings.key)

    @property
    def pending_request(self) -> Request | None:
        """The call that fetches the token, where one has to be fetched first."""
        return self._request if self.token is None else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in no message."""
        return (self._settings.key,) if self.token is None else (self._settings.key, self.token)

    @property
    def header_names(self) -> tuple[str, ...]:
        """Names of the headers that carry a secret."""
        return (*self._system.auth_headers("x"), *self._system.token_headers("x"))

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers with the secret, for the shop's own origin and no other."""
        try:
            own = origin_of(url) == origin_of(self._settings.origin)
        except ValueError:  # not a URL; the HTTP library says so
            own = False
        if not own:
            return {}
        if self._request is None:
            return self._system.auth_headers(self._settings.key)
        return {} if self.token is None else self._system.token_headers(self.token)

    def accept_token(self, response: Decoded) -> None:
        """
        Keep the token of a response to :attr:`pending_request`.

        :raises LoginFailed: where there is none.
        """
        if response.problem is not None:
            raise LoginFailed(_for_the_call_behind_it(response.problem), response.rate_limit)
        try:
            token = self._system.read_login(response.payload)
            if not (token.isascii() and token.isprintable()):
                raise MalformedResponse("what it gave has characters that no header can carry")
        except MalformedResponse as error:
            raise LoginFailed(Problem(ProblemKind.NOT_SENT, (f"the login gave no token: {error}",))) from None
        self.token = token

    def discard_if_refused(self, response: Decoded, token: str | None) -> bool:
        """
        Forget the token that a call was refused for; return whether that was the reason.

        Where another call has fetched a new one already, the new one stays.
        """
        if token is None or response.problem is None or response.problem.http_status != 401:
            return False
        if token == self.token:
            self.token = None
        return True


def _for_the_call_behind_it(problem: Problem) -> Problem:
    """
    Say what a failed login means for the call that needed it: that one surely was not sent.

    A password that is wrong stays what it is, and so does a request to wait.
    """
    messages = (f"the login failed: {problem.text}",)
    if problem.kind is ProblemKind.RATE_LIMITED:
        return problem
    if problem.kind in (ProblemKind.AUTHENTICATION, ProblemKind.VALIDATION, ProblemKind.NOT_FOUND):
        return Problem(ProblemKind.AUTHENTICATION, messages, problem.http_status)
    return Problem(ProblemKind.NOT_SENT, messages)
