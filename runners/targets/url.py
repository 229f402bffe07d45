"""Target `url`: any server with OpenAI's API that is already running."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runners.errors import TargetError, UsageError
from runners.profiles.model import Profile
from runners.progress import Progress
from runners.rundir import RunDirectory
from runners.targets.endpoint import Endpoint
from runners.targets.first_answer import ask_one_token, error_message, parsed
from runners.targets.lifecycle import Lifecycle
from runners.targets.trust import trusted

if TYPE_CHECKING:
    import httpx

    from runners.targets import TargetOptions

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
_CONNECT_S = 10.0
_V2_APIS = ("triton", "oip")
_ENGINES = ("vllm", "sglang", "tgi", "tensorrt-llm")


@dataclass(frozen=True)
class _Served:
    """A model that the server offers, and what it says about itself."""

    name: str
    owned_by: str | None


@contextmanager
def open_endpoint(
    profile: Profile, run: RunDirectory, progress: Progress, options: "TargetOptions"
) -> Iterator[Endpoint]:
    """Check the server at `profile.url`: its models, the key, and one real token.

    Writes lifecycle.json. The key comes from the environment variable profile.api_key_env
    (by default OPENAI_API_KEY where that is set); it is never printed or kept.
    Raises UsageError without a URL, TargetError where the server cannot be reached or used,
    or only through a proxy, which would be measured too.
    """
    lifecycle = Lifecycle(run)
    with lifecycle.recorded():
        endpoint = _checked(profile, progress, options, lifecycle)
    yield endpoint


def _checked(
    profile: Profile, progress: Progress, options: "TargetOptions", lifecycle: Lifecycle
) -> Endpoint:
    import httpx

    if profile.url is None:
        raise UsageError("target url needs a server; give --url URL or the key `url`")
    base_url = normalised(profile.url)
    _refuse_proxy(base_url)
    key_variable = _key_variable(profile)
    client = httpx.Client(
        base_url=base_url,
        headers={"Authorization": f"Bearer {os.environ[key_variable]}"} if key_variable else {},
        verify=trusted(options.ca_cert),
        trust_env=False,
        timeout=httpx.Timeout(profile.load.timeout_s, connect=_CONNECT_S),
    )
    with progress.step(f"checking {base_url}"), client:
        with lifecycle.phase("reach"):
            served = _served(client, profile, base_url, key_variable)
            endpoint = Endpoint(
                base_url=base_url,
                model=served.name,
                target="url",
                engine=_engine(served),
                engine_version=_version(client),
                metrics_url=f"{base_url}/metrics" if _has_metrics(client) else None,
                tokenizer=_tokenizer(profile),
                api_key_env=key_variable,
                ca_cert=options.ca_cert,
            )
        with lifecycle.phase("first token"):
            _first_token(client, profile, base_url, served)
    return endpoint


def normalised(url: str) -> str:
    """The address without a trailing slash and without /v1, which we add ourselves."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _refuse_proxy(base_url: str) -> None:
    """Other tools would go through the environment's proxy; its latency would be in ours."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    url = urlsplit(base_url)
    host = url.hostname or ""
    local = host in {"localhost", "::1"} or host.startswith("127.")
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not local and not proxy_bypass(host):
        raise TargetError(
            f"the environment asks for a proxy ({url.scheme}_proxy) to reach {host}; it would be "
            f"measured too: add {host} to no_proxy to go there directly"
        )


def _key_variable(profile: Profile) -> str | None:
    named = profile.api_key_env
    if named is not None and not os.environ.get(named):
        raise TargetError(f"the environment variable {named} (api_key_env) is not set; export it")
    return named or (DEFAULT_KEY_VARIABLE if os.environ.get(DEFAULT_KEY_VARIABLE) else None)


def _served(
    client: "httpx.Client", profile: Profile, base_url: str, key_variable: str | None
) -> _Served:
    """The model to measure; servers of the /v2 APIs are asked about it by name."""
    if profile.workload.api not in _V2_APIS:
        return _choose(profile, base_url, _models(client, base_url, key_variable))
    name = profile.model.name
    if name is None:
        raise UsageError(
            f"workload.api {profile.workload.api} does not list its models; give model.name"
        )
    response = _ask(client, f"/v2/models/{name}/ready", base_url)
    if response.status_code in (401, 403):
        raise TargetError(_refused(base_url, response, key_variable))
    if response.status_code != 200:
        raise TargetError(
            f"{base_url}/v2/models/{name}/ready answers HTTP {response.status_code} "
            f"({error_message(response)}): is model.name right, and is it loaded?"
        )
    return _Served(name, None)


def _models(client: "httpx.Client", base_url: str, key_variable: str | None) -> list[_Served]:
    """What GET /v1/models lists."""
    response = _ask(client, "/v1/models", base_url)
    if response.status_code in (401, 403):
        raise TargetError(_refused(base_url, response, key_variable))
    if response.status_code != 200:
        raise TargetError(
            f"{base_url}/v1/models answers HTTP {response.status_code} "
            f"({error_message(response)}): is this the address of an OpenAI-compatible server?"
        )
    body = parsed(response)
    try:
        return [_Served(str(model["id"]), model.get("owned_by")) for model in body["data"]]
    except (TypeError, KeyError, AttributeError):
        raise TargetError(
            f"{base_url}/v1/models lists no models: is this an OpenAI-compatible server?"
        ) from None


def _ask(client: "httpx.Client", path: str, base_url: str) -> "httpx.Response":
    import httpx

    try:
        return client.get(path)
    except httpx.TransportError as error:
        raise TargetError(f"cannot reach {base_url}: {_why(error)}") from error
    except httpx.InvalidURL as error:
        raise UsageError(f"url {base_url}: {error}") from error


def _why(error: "httpx.TransportError") -> str:
    """The reason behind a failed connection, without the library's wording around it."""
    import httpx

    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        detail = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or text
        return (
            f"its TLS certificate is not trusted ({detail}); give its authority with --ca-cert PEM"
        )
    if "SSL" in text:
        return f"TLS failed ({text}); is it an http:// address?"
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {_CONNECT_S:g} s; check the address and the network"
    if isinstance(error, httpx.TimeoutException):
        return "connected, but no answer to GET /v1/models came"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"it does not speak HTTP ({text}); is it an https:// address?"
    return f"{text or type(error).__name__}; check the address, and that the server runs"


def _refused(base_url: str, response: "httpx.Response", key_variable: str | None) -> str:
    status = f"{base_url} answers HTTP {response.status_code}"
    if key_variable is None:
        return (
            f"{status}: it wants an API key; put it into the environment variable "
            f"{DEFAULT_KEY_VARIABLE}, or name another with api_key_env"
        )
    return f"{status}: it does not accept the key in the environment variable {key_variable}"


def _choose(profile: Profile, base_url: str, served: list[_Served]) -> _Served:
    """The model named in the profile, or the only one."""
    names = ", ".join(model.name for model in served) or "nothing"
    wanted = profile.model.name
    if wanted is None:
        if len(served) == 1:
            return served[0]
        raise TargetError(f"{base_url} serves {names}; choose with --set model.name=NAME")
    for model in served:
        if model.name == wanted:
            return model
    raise TargetError(
        f"{base_url} does not serve {wanted!r}; it serves {names}: "
        f"add --set model.name={served[0].name if served else 'NAME'}"
    )


def _first_token(client: "httpx.Client", profile: Profile, base_url: str, served: _Served) -> None:
    import httpx

    try:
        ask_one_token(client, served.name, profile.workload.api)
    except httpx.TimeoutException as error:
        raise TargetError(
            f"{base_url} takes requests for {served.name} but sent no token in "
            f"{profile.load.timeout_s:g} s (load.timeout_s)"
        ) from error
    except httpx.TransportError as error:
        raise TargetError(
            f"{base_url} broke off the first request for {served.name}: {error}"
        ) from error


def _engine(served: _Served) -> str:
    """Engines that name themselves as the models' owner."""
    owner = (served.owned_by or "").lower().replace("_", "-")
    return owner if owner in _ENGINES else "unknown"


def _version(client: "httpx.Client") -> str | None:
    """What GET /version tells, where there is one."""
    import httpx

    try:
        body = parsed(client.get("/version", timeout=_CONNECT_S))
    except httpx.TransportError:
        return None
    version = body.get("version") if isinstance(body, dict) else None
    return version if isinstance(version, str) else None


def _has_metrics(client: "httpx.Client") -> bool:
    """Whether GET /metrics answers in Prometheus' text format."""
    import httpx

    try:
        response = client.get("/metrics", timeout=_CONNECT_S)
    except httpx.TransportError:
        return False
    text = response.headers.get("content-type", "").startswith(
        ("text/plain", "application/openmetrics-text")
    )
    return response.status_code == 200 and text and "# TYPE " in response.text


def _tokenizer(profile: Profile) -> Path | None:
    """The profile's tokenizer, or the model's, where one is on this machine."""
    for place in (profile.model.tokenizer, profile.model.uri):
        path = Path(place) if place and "://" not in place else None
        if path and (path.is_file() or (path / "tokenizer.json").is_file()):
            return path
    return None
