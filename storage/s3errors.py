"""S3's failures in the words of the contract. Servers differ in codes, so the HTTP status decides where a code is unknown."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from storage.base import ObjectExists, ObjectMissing, StorageDown, StorageError, StorageFull

_MISSING = {"NoSuchKey", "NotFound", "404"}
_EXISTS = {"PreconditionFailed", "412"}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"}
_PASSING = {"ConditionalRequestConflict", "OperationAborted", "SlowDown", "RequestTimeout", "NoSuchUpload"}
_SETTINGS = (NoCredentialsError, PartialCredentialsError, ParamValidationError)


@contextmanager
def s3_errors(key: str) -> Iterator[None]:
    """Translate what boto3 raises; by the time it does, its retries are used up."""
    try:
        yield
    except ClientError as error:
        raise meaning(error, key) from error
    except _SETTINGS as error:
        raise StorageError(f"S3 is not set up: {error}") from error
    except BotoCoreError as error:
        raise StorageDown(f"{key}: {error}") from error


def meaning(error: ClientError, key: str) -> StorageError:
    """The contract's error for one refused request."""
    code = error_code(error)
    if code in _MISSING:
        return ObjectMissing(key)
    if code in _EXISTS:
        return ObjectExists(key)
    if code in _FULL:
        return StorageFull(f"no room in the store for {key}")
    if code == "RequestTimeTooSkewed":
        return StorageDown(f"{key}: S3 refuses because this machine's clock is wrong; have it set (NTP)")
    if code in _PASSING or _status(error) >= 500 or _status(error) == 429:
        return StorageDown(f"{key}: {error}")
    return StorageError(f"{key}: {error}")


def error_code(error: ClientError) -> str:
    """S3's own word for it, or the HTTP status where the answer had no body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", _status(error)))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
