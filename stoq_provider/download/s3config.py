"""Translate an Airflow connection into obstore's configuration for S3, as far as that is safe."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from stoq_provider.download.destination import Target

if TYPE_CHECKING:
    from collections.abc import Callable

# Options of botocore that change how patient it is, or nothing at all here.
_HARMLESS = frozenset(
    {
        "connect_timeout",
        "max_pool_connections",
        "read_timeout",
        "region_name",
        "retries",
        "s3",
        "signature_version",
        "tcp_keepalive",
        "user_agent",
        "user_agent_extra",
    }
)
_HARMLESS_S3 = frozenset({"addressing_style", "payload_signing_enabled"})
_CREDENTIAL_LIFE = timedelta(minutes=5)
_KNOWN: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""Stores by file system and bucket: kept for as long as Airflow keeps the file system of a connection."""


def s3_store(target: Target) -> tuple[Any, str]:
    """
    Return obstore's store for the bucket of ``target``, or ``None`` and why there is none.

    Whatever is not known to mean the same to obstore (signers, proxies, own certificates, anonymous access,
    options of the path) is left to fsspec.
    """
    if target.tuned:
        return None, "the path has storage options of its own"
    bucket = target.path.partition("/")[0]
    known = _KNOWN.setdefault(target.fs, {})
    if bucket in known:
        return known[bucket], ""
    store, why_not = _translate(target, bucket)
    if store is not None:
        known[bucket] = store
    return store, why_not


def _translate(target: Target, bucket: str) -> tuple[Any, str]:
    try:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    except ImportError:
        return None, "the Amazon provider is not installed"
    hook = S3Hook(aws_conn_id=target.conn_id)
    why_not = _unfit(hook)
    if why_not:
        return None, why_not
    session = hook.get_session()
    credentials = session.get_credentials()
    if credentials is None:
        return None, "the connection has no credentials"
    # botocore alone knows how endpoint, addressing style, profile and environment come together: a URL that
    # it makes (nothing is sent) tells.
    client, url = target.fs.s3, target.fs.sign(f"{bucket}/key")
    if _is_aws(url):
        region = _bucket_region(hook.get_conn(), bucket)
        if region is None:
            return None, f"the region of {bucket} cannot be found out"
        client = S3Hook(aws_conn_id=target.conn_id, region_name=region).get_conn()
        url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "key"})
    if url.startswith("https:") and session._session.get_config_variable("ca_bundle"):
        return None, "certificates are checked against a bundle (AWS_CA_BUNDLE or ca_bundle)"
    return _store(client, url, bucket, credentials), "its endpoint has a path of its own"


def _unfit(hook: Any) -> str:
    """Return what of the connection has no counterpart, or nothing."""
    config = hook.conn_config
    options = dict(config.extra_config.get("config_kwargs") or {})
    unknown = sorted({*options, *(f"s3.{name}" for name in options.get("s3") or {})} - _known())
    checks = {
        f"config_kwargs has {', '.join(unknown)}": bool(unknown),
        "it has a signature version of its own": options.get("signature_version") not in (None, "s3v4"),
        "it has options of the service s3": bool(set(hook.service_config) - {"endpoint_url"}),
        "it has certificates of its own": config.verify not in (None, True),
    }
    return next((text for text, found in checks.items() if found), "")


def _known() -> frozenset[str]:
    return _HARMLESS | {f"s3.{name}" for name in _HARMLESS_S3}


def _is_aws(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _bucket_region(client: Any, bucket: str) -> str | None:
    """Ask where a bucket is: botocore follows it to its region by itself, obstore does not."""
    from botocore.exceptions import ClientError

    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response  # the header comes with a refusal as well
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = headers.get("x-amz-bucket-region")
    return region


def _store(client: Any, url: str, bucket: str, credentials: Any) -> Any:
    from obstore.store import S3Store

    parts = urlsplit(url)
    if parts.path not in ("/key", f"/{bucket}/key"):
        return None
    options = client.meta.config.s3 or {}
    store: Any = S3Store
    return store(
        bucket,
        endpoint=f"{parts.scheme}://{parts.netloc}",
        region=client.meta.region_name or "us-east-1",
        virtual_hosted_style_request=parts.path == "/key",
        unsigned_payload=not options.get("payload_signing_enabled", _open_to_others(parts)),
        skip_signature=False,
        client_options={
            "allow_http": parts.scheme == "http",
            "connect_timeout": "10s",
            "timeout": "300s",
        },
        retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=120)},
        credential_provider=_provider(credentials),
    )


def _open_to_others(parts: Any) -> bool:
    """
    Return whether a body could be changed on its way: over plain http, unless it never leaves the machine.

    There a digest of every part is signed. TLS protects the body itself; botocore does not sign it there
    either.
    """
    if parts.scheme == "https":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return bool(parts.hostname != "localhost")


def _provider(credentials: Any) -> Callable[[], dict[str, Any]]:
    """Hand out the credentials of the Airflow connection, renewed by botocore where they expire."""

    def provide() -> dict[str, Any]:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + _CREDENTIAL_LIFE,
        }

    return provide
