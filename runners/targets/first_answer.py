"""The proof that a target works: one real token."""

from typing import TYPE_CHECKING, Any, Literal

from runners.errors import TargetError

if TYPE_CHECKING:
    import httpx


def ask_one_token(client: "httpx.Client", model: str, api: Literal["chat", "completions"]) -> None:
    """Ask `model` for one token through `client`, which knows the address and the key.

    Raises TargetError when the answer is not one; httpx.TransportError when none comes.
    """
    body: dict[str, Any] = {"model": model, "max_tokens": 1}
    if api == "chat":
        path = "/v1/chat/completions"
        body["messages"] = [{"role": "user", "content": "Hello"}]
    else:
        path = "/v1/completions"
        body["prompt"] = "Hello"
    response = client.post(path, json=body)
    if response.status_code != 200:
        raise TargetError(
            f"{client.base_url.join(path)} answers HTTP {response.status_code}: "
            f"{error_message(response)}"
        )
    answer = parsed(response)
    if not isinstance(answer, dict) or not answer.get("choices"):
        raise TargetError(f"{client.base_url.join(path)} answers without any choices")


def parsed(response: "httpx.Response") -> Any:
    """The body as JSON, or None when it is none."""
    try:
        return response.json()
    except ValueError:
        return None


def error_message(response: "httpx.Response") -> str:
    """What a server says about an error, in one line of at most 200 characters."""
    body = parsed(response)
    if isinstance(body, dict):
        error = body.get("error", body)
        if isinstance(error, dict):
            error = error.get("message") or error.get("detail") or error
        text = str(error)
    else:
        text = response.text
    return " ".join(text.split())[:200] or response.reason_phrase
