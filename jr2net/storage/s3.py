"""S3 clients with common settings: Arrow's file system for reads and writes, boto3 for what Arrow lacks.

The endpoint is ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` where set, the region ``AWS_REGION`` or
``AWS_DEFAULT_REGION``, the number of attempts ``AWS_MAX_ATTEMPTS``. Credentials are found as by AWS's tools.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from jr2net.errors import StorageError

_CONNECT_TIMEOUT_S = 10


def attempts() -> int:
    """Total number of attempts for a request with transient errors, with exponential backoff."""
    return int(os.environ.get("AWS_MAX_ATTEMPTS", "3"))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """``s3://bucket/some/key`` to ``("bucket", "some/key")``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def filesystem(bucket: str) -> fs.S3FileSystem:
    """Arrow's file system for a bucket."""
    return _filesystem(_endpoint(), _region(), bucket, attempts())


def client() -> Any:
    """boto3's client, for conditional puts and paged listings; thread-safe. Raises StorageError without boto3."""
    return _client(_endpoint(), _region(), attempts())


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


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
