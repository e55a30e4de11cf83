"""What the errors of stores mean, whichever library raised them."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

_NO_SUCH_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)

# Of botocore, before anything is sent.
_NOTHING_TO_SEND = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError")


def says_exists(error: BaseException | None) -> bool:
    """
    Whether a store refused a conditional put because the object is there.

    s3fs takes only some servers' words for it; of others only the response tells that it wraps (412, or 409
    while two put at a time).
    """
    while error is not None:
        code = _response(error, "Error").get("Code")
        if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "ConditionalRequestConflict"):
            return True
        error = error.__cause__
    return False


def says_no(error: BaseException) -> bool:
    """
    Whether a store refuses for good: no such bucket, no permission, unknown credentials.

    Anything else, such as a server in trouble or one that does not know the call, says nothing.
    """
    if isinstance(error, OSError) and error.errno in _NO_SUCH_PATH:
        return True
    if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
        return True
    if type(error).__name__ in _NOTHING_TO_SEND or str(error).startswith("Forbidden: "):  # gcsfs of a 403
        return True
    status = _response(error, "ResponseMetadata").get("HTTPStatusCode")  # botocore
    return {status, getattr(error, "code", None), getattr(error, "status_code", None)} & {
        401,
        403,
        404,
    } != set()


def _response(error: BaseException, part: str) -> Mapping[str, Any]:
    response = getattr(error, "response", None)
    return response.get(part, {}) if isinstance(response, Mapping) else {}
