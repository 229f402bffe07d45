"""Errors as the API server words them: Status objects with code, reason and details."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.kube.resources import Resource

Object = dict[str, Any]


class StatusError(Exception):
    """Ends a request; `body()` is what the client reads."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def body(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return {**status, "code": self.code}


def about(resource: Resource, name: str = "", **more: Any) -> Object:
    """`details` of a Status: what the error is about, empty values left out."""
    known = {"name": name, "group": resource.group, "kind": resource.plural, **more}
    return {key: value for key, value in known.items() if value}


def not_found(resource: Resource, name: str) -> StatusError:
    message = f'{resource.full_name} "{name}" not found'
    return StatusError(404, "NotFound", message, about(resource, name))


def no_such_path() -> StatusError:
    message = "the server could not find the requested resource"
    return StatusError(404, "NotFound", message)


def already_exists(resource: Resource, name: str) -> StatusError:
    message = f'{resource.full_name} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, about(resource, name))


def conflict(resource: Resource, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {why}'
    return StatusError(409, "Conflict", message, about(resource, name))


def modified(resource: Resource, name: str) -> StatusError:
    why = (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    return conflict(resource, name, why)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unsupported_media_type(content_type: str) -> StatusError:
    message = (
        f'the body of the request was in an unknown format "{content_type}" - accepted media types '
        "include: application/json-patch+json, application/merge-patch+json, "
        "application/apply-patch+yaml"
    )
    return StatusError(415, "UnsupportedMediaType", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    subject = f'{resource.full_name} "{name}"' if name else resource.full_name
    message = f"{subject} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, about(resource, name))


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def invalid(kind: str, group: str, name: str, problems: Sequence["FieldProblem"]) -> StatusError:
    """422 with every problem, in the aggregate form of the API machinery."""
    texts = [problem.text for problem in problems]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    full_kind = f"{kind}.{group}" if group else kind
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [problem.cause() for problem in problems],
    }
    return StatusError(
        422,
        "Invalid",
        f'{full_kind} "{name}" is invalid: {listed}',
        {key: value for key, value in details.items() if value},
    )


class FieldProblem:
    """One invalid field: `spec.x: Invalid value: …`."""

    def __init__(self, reason: str, field: str, detail: str) -> None:
        self.reason = reason
        self.field = field
        self.detail = detail

    @property
    def text(self) -> str:
        return f"{self.field}: {self.detail}"

    def cause(self) -> Object:
        return {"reason": self.reason, "message": self.detail, "field": self.field}
