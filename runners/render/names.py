"""Names and labels that Kubernetes accepts, derived from names that people chose."""

import hashlib
import re

SERVICE_LENGTH = 40
LABEL_LENGTH = 63


def service_name(text: str) -> str:
    """An InferenceService name: `[a-z]([-a-z0-9]*[a-z0-9])?`, at most 40 characters.

    The limit leaves room for the suffixes of pods and for the namespace in the DNS label.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not slug or not slug[0].isalpha():
        slug = f"bench-{slug}".rstrip("-")
    return _shortened(slug, SERVICE_LENGTH)


def label_value(text: str) -> str:
    """A label value: at most 63 of `[A-Za-z0-9._-]`, alphanumeric at both ends."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
    return _shortened(slug, LABEL_LENGTH)


def _shortened(text: str, length: int) -> str:
    """Cut with a digest at the end, so that two long names do not become one."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: length - 9].rstrip('._-')}-{digest}"
