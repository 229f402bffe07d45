"""KServe's admission webhooks: what they refuse, and how it looks when they are down."""

import re
from dataclasses import dataclass

from tests.kube.errors import Object, StatusError
from tests.kube.writes import Target

NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
VALIDATOR = "inferenceservice.kserve-webhook-server.validator"
DEFAULTER = "inferenceservice.kserve-webhook-server.defaulter"


@dataclass
class Webhooks:
    """Admission of InferenceServices. running: False when no pod serves the webhook."""

    running: bool = True

    def admit(self, target: Target, item: Object) -> None:
        """Raises 500 when the webhook cannot be called, 403 for what it denies."""
        if target.resource.kind != "InferenceService" or target.subresource:
            return
        if not self.running:
            raise StatusError(
                500,
                "InternalError",
                f'Internal error occurred: failed calling webhook "{DEFAULTER}": failed to call '
                'webhook: Post "https://kserve-webhook-server-service.kserve.svc:443/'
                'mutate-serving-kserve-io-v1beta1-inferenceservice?timeout=10s": no endpoints '
                'available for service "kserve-webhook-server-service"',
            )
        name = item["metadata"]["name"]
        if not re.fullmatch(NAME, name):
            raise denied(
                f'the InferenceService "{name}" is invalid: a InferenceService name must consist '
                "of lower case alphanumeric characters or '-', and must start with alphabetical "
                'character. (e.g. "my-name" or "abc-123", regex used for validation is '
                f"'{NAME}')"
            )
        predictor = item["spec"]["predictor"]
        fewest, most = predictor.get("minReplicas", 1), predictor.get("maxReplicas", 0)
        if fewest < 0:
            raise denied("MinReplicas cannot be less than 0")
        if most and most < fewest:
            raise denied("MaxReplicas cannot be less than MinReplicas")


def denied(why: str) -> StatusError:
    message = f'admission webhook "{VALIDATOR}" denied the request: {why}'
    return StatusError(403, "Forbidden", message)
