"""S3 clients with common settings: Arrow's file system for reads and writes, boto3 for what Arrow lacks.

The endpoint is ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` where set, the region ``AWS_REGION`` or
``AWS_DEFAULT_REGION``, the number of attempts ``AWS_MAX_ATTEMPTS``. Credentials are found as by AWS's tools.

Options of a URI (``s3://bucket/key?endpoint_override=host:port&scheme=http&region=eu-west-1``) come before these
variables. Arrow's other options, e.g. ``allow_bucket_creation``, hold for its reads and writes alone: conditional puts
and listings are boto3's.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pyarrow import fs

from jr2net.errors import StorageError

_CONNECT_TIMEOUT_S = 10

OPTIONS = frozenset({"endpoint_override", "scheme", "region"})
"""Options of a URI that both clients know."""


def attempts() -> int:
    """Total number of attempts for a request with transient errors, with exponential backoff."""
    return int(os.environ.get("AWS_MAX_ATTEMPTS", "3"))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """``s3://bucket/some/key`` to ``("bucket", "some/key")``; options are left out."""
    bucket, _, key = uri.removeprefix("s3://").partition("?")[0].partition("/")
    return bucket, key


def options(uri: str) -> dict[str, str]:
    """The options of a URI by name."""
    return dict(parse_qsl(uri.partition("?")[2]))


def filesystem(uri: str) -> fs.S3FileSystem:
    """Arrow's file system for the bucket of a URI."""
    return _filesystem(_endpoint(uri), _region(uri), bucket_and_key(uri)[0], attempts())


def client(uri: str) -> Any:
    """boto3's client for the bucket of a URI, for conditional puts and paged listings; thread-safe.

    Raises StorageError without boto3.
    """
    return _client(_endpoint(uri), _region(uri), attempts())


def _endpoint(uri: str) -> str | None:
    given = options(uri)
    if (address := given.get("endpoint_override")) is not None:
        return address if "://" in address else f"{given.get('scheme', 'https')}://{address}"
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region(uri: str) -> str | None:
    return options(uri).get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


@lru_cache(maxsize=8)
def _filesystem(endpoint: str | None, region: str | None, bucket: str, attempts: int) -> fs.S3FileSystem:
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "allow_delayed_open": True,  # makes a small file one PUT instead of a multipart upload
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
    }
    if endpoint is None:
        return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket), **options)
    address = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    return fs.S3FileSystem(
        endpoint_override=address.netloc, scheme=address.scheme, region=region or "us-east-1", **options
    )


@lru_cache(maxsize=8)
def _client(endpoint: str | None, region: str | None, attempts: int) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise StorageError("writing a dataset to S3 needs boto3: pip install 'jr2net[cluster]'") from None
    settings = Config(
        retries={"mode": "standard", "max_attempts": attempts},
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_checksum_calculation="when_required",  # other servers than Amazon's reject boto3's default
        response_checksum_validation="when_required",
    )
    region = region or ("us-east-1" if endpoint else None)
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, config=settings)
