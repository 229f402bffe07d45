"""The proof that a target works: one real token."""

from typing import TYPE_CHECKING, Any

from runners.errors import TargetError
from runners.load.dialects import DIALECTS, Question

if TYPE_CHECKING:
    import httpx


def ask_one_token(client: "httpx.Client", model: str, api: str) -> None:
    """Ask `model` for one token through `client`, which knows the address and the key.

    api: the dialect, by its name in runners.load.dialects.
    Raises TargetError when the answer is not one; httpx.TransportError when none comes.
    """
    from runners.load.exchange import Exchange
    from runners.load.reading import read_answer

    dialect = DIALECTS[api]
    path = dialect.path(model, False)
    question = Question(model=model, prompt="Hello", max_tokens=1, stream=False)
    response = client.post(path, json=dialect.body(question))
    if response.status_code != 200:
        raise TargetError(
            f"{client.base_url.join(path)} answers HTTP {response.status_code}: "
            f"{error_message(response)}"
        )
    exchange = Exchange(0, 0, 1, False, 0, status=200, complete=True)
    exchange.arrive(0, response.content)
    answer = read_answer(dialect, exchange, stream=False)
    # The one token may have no text: a special one, or the beginning of a character.
    if answer.error not in (None, "empty"):
        raise TargetError(
            f"{client.base_url.join(path)} does not answer as workload.api {api} would: "
            f"{answer.error_detail}"
        )


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
