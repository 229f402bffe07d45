"""The last proof of readiness: the server lists the model and answers with one token."""

from pathlib import Path

from runners.cluster.clock import Clock
from runners.cluster.reach import Route
from runners.errors import TargetError
from runners.profiles.model import Profile
from runners.targets.first_answer import ask_one_token, error_message, parsed
from runners.targets.trust import trusted

# KServe's V2 protocol has no list of models.
_V2_APIS = ("triton", "oip")
_LISTED_S = 30.0
_CONNECT_S = 10.0


def first_token(
    route: Route,
    profile: Profile,
    model: str,
    clock: Clock,
    timeout_s: float,
    ca_cert: Path | None = None,
) -> str:
    """Ask for one token; returns the name under which the model answers.

    model: the name expected. A server that lists exactly one other name is asked for that,
    where the profile names none. Raises TargetError.
    """
    import httpx

    headers = {"Host": route.host_header} if route.host_header else {}
    with httpx.Client(
        base_url=route.base_url,
        headers=headers,
        trust_env=False,
        verify=trusted(ca_cert),
        timeout=httpx.Timeout(max(1.0, timeout_s), connect=_CONNECT_S),
    ) as client:
        name = model
        if profile.workload.api not in _V2_APIS:
            name = _listed_name(client, profile, model, clock)
        try:
            ask_one_token(client, name, profile.workload.api)
        except httpx.TransportError as error:
            raise TargetError(
                f"{route.base_url} lists {name} but broke off the first request: "
                f"{error or type(error).__name__}"
            ) from error
    return name


def _listed_name(client: object, profile: Profile, model: str, clock: Clock) -> str:
    """The served name, asked for until the routes have settled."""
    import httpx

    assert isinstance(client, httpx.Client)
    give_up = clock.now() + _LISTED_S
    while True:
        said = ""
        try:
            answer = client.get("/v1/models", timeout=_CONNECT_S)
            body = parsed(answer)
            if answer.status_code == 200 and isinstance(body, dict):
                names = [str(each.get("id")) for each in body.get("data") or ()]
                return _chosen(names, profile, model)
            said = f"HTTP {answer.status_code}: {error_message(answer)}"
        except httpx.TransportError as error:
            said = str(error) or type(error).__name__
        if clock.now() >= give_up:
            raise TargetError(f"{client.base_url}/v1/models does not answer: {said}")
        clock.sleep(0.5)


def _chosen(names: list[str], profile: Profile, model: str) -> str:
    if model in names:
        return model
    if profile.model.name is None and len(names) == 1:
        return names[0]
    raise TargetError(
        f"the server lists {', '.join(names) or 'no model'}, not {model}: add --set "
        f"model.name={names[0] if names else 'NAME'}"
    )
