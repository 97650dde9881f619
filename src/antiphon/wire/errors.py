"""The API's errors, as exceptions.

    ApiError                      code                   HTTP
    ├── InvalidRequest            invalid_request        400
    ├── FailedPrecondition        failed_precondition    400
    │   └── TooManyToolCalls      too_many_tool_calls    400
    ├── Unauthenticated           authentication         401
    ├── PermissionDenied          permission_denied      403
    ├── NotFound                  not_found              404
    │   └── ModelNotFound         model_not_found        404
    ├── AlreadyExists             already_exists         409
    ├── OutOfRange                out_of_range           416
    ├── RateLimited               rate_limit_exceeded    429
    ├── Internal                  api_error              500
    │   └── MalformedFunctionCall malformed_function_call 500
    ├── Unavailable               service_unavailable    503
    └── DeadlineExceeded          deadline_exceeded      504

They are raised where the fault is found and become HTTP answers or `error` events in one place each. On the wire:
`{"error": {"code": "<snake_case>", "message": "…"}}` (recorded; the API's error page lists the codes).
"""

from __future__ import annotations


class ApiError(Exception):
    """An error the caller sees. `retry_after` is in seconds, for the header of that name."""

    code = "api_error"
    status = 500

    def __init__(self, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class InvalidRequest(ApiError):
    """The request cannot mean anything; the message names the place."""

    code = "invalid_request"
    status = 400


class FailedPrecondition(ApiError):
    """The request is well formed and cannot be carried out in the present state."""

    code = "failed_precondition"
    status = 400


class Unauthenticated(ApiError):
    """No key, or one that is not known here."""

    code = "authentication"
    status = 401


class PermissionDenied(ApiError):
    """Known, and not allowed."""

    code = "permission_denied"
    status = 403


class NotFound(ApiError):
    """Nothing of that name in this project."""

    code = "not_found"
    status = 404


class ModelNotFound(NotFound):
    """No configured model answers to that name."""

    code = "model_not_found"


class AlreadyExists(ApiError):
    """What was to be made is there."""

    code = "already_exists"
    status = 409


class OutOfRange(ApiError):
    """A position in a stream that this server can no longer, or could never, resume from."""

    code = "out_of_range"
    status = 416


class RateLimited(ApiError):
    """Too much at once; `retry_after` tells when to come back."""

    code = "rate_limit_exceeded"
    status = 429


class Internal(ApiError):
    """A fault that is not the caller's."""


class MalformedFunctionCall(Internal):
    """The model wrote a call that cannot be read, or whose arguments break their schema."""

    code = "malformed_function_call"


class TooManyToolCalls(FailedPrecondition):
    """The model went on calling tools past the server's limit of rounds. Not a 5xx: clients would send it all again."""

    code = "too_many_tool_calls"


class Unavailable(ApiError):
    """A part this server depends on is not there; trying again may help."""

    code = "service_unavailable"
    status = 503


class DeadlineExceeded(ApiError):
    """A part this server depends on stayed silent for too long."""

    code = "deadline_exceeded"
    status = 504
