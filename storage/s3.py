"""Objects in any S3: AWS, SeaweedFS, MinIO, R2.

boto3 does the protocol and the retries: its "standard" mode is exponential backoff with full jitter and a quota that
stops retry storms; it covers SlowDown, 5xx, dropped connections and the "200 with error" of CompleteMultipartUpload and
CopyObject. What boto3 cannot know is done here: a write that won although its answer was lost (each write carries a
`writer` mark to tell), and a read that breaks off half way (it goes on from there, same version or not at all).
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, Any, BinaryIO

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, ResponseStreamingError
from botocore.loaders import Loader, create_loader

from storage.base import (
    ObjectExists,
    ObjectInfo,
    StorageDown,
    check_encoding,
    check_key,
    check_prefix,
    check_range,
    encoding_of,
)
from storage.mimes import media_type
from storage.multipart import PART_SIZE, parts_of, read_part, upload_parts
from storage.s3errors import error_code, meaning, s3_errors
from storage.s3parts import S3Parts

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Eight tries wait about 6 s in all for server faults and half a minute when told to slow down.
_ATTEMPTS = 8
_READ_RESUMES = 5
_CONFLICT_TRIES = 5
_COPY_LIMIT = 5 << 30  # CopyObject's own; above it boto3 copies in parts
_BROKEN_READ = (ResponseStreamingError, IncompleteReadError, HTTPClientError, OSError)


class S3Store:
    """An ObjectStore in one bucket, below an optional prefix. Open it after a fork, not before: sockets don't share."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = check_key(prefix) + "/" if prefix else ""
        self._client = _client(endpoint, region, access_key, secret_key)

    def put(
        self,
        key: str,
        data: bytes | Path | BinaryIO,
        *,
        type: str,
        cache: str | None = None,
        encoding: str | None = None,
        if_absent: bool = False,
    ) -> ObjectInfo:
        check_encoding(check_key(key), encoding)
        writer = uuid.uuid4().hex
        headers = _headers(type, cache, encoding) | {"Metadata": {"writer": writer}}
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        with _opened(data) as body, s3_errors(key):
            try:
                return _stored(key, headers, *self._write(key, body, headers, condition))
            except ClientError as error:
                return self._own(key, writer, error)

    def head(self, key: str) -> ObjectInfo:
        return _described(key, self._head(key))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        return b"".join(self.chunks(key, start, length))

    def chunks(self, key: str, start: int = 0, length: int | None = None, size: int = 1 << 20) -> Iterator[bytes]:
        check_range(start, length)
        if length == 0:
            self._head(key)
            return
        end = None if length is None else start + length
        version: dict[str, Any] = {}
        for broken in range(_READ_RESUMES + 1):
            answer = self._get(key, start, end, version)
            if answer is None:
                return
            version = {"IfMatch": answer["ETag"]}
            try:
                with closing(answer["Body"]) as body:
                    for piece in body.iter_chunks(size):
                        start += len(piece)
                        yield piece
                return
            except _BROKEN_READ as error:
                fault = error
                _pause(broken)
        raise StorageDown(f"{key}: reading broke off {_READ_RESUMES + 1} times: {fault}") from fault

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """S3 lists no types, so the listed type and encoding are what the key's suffix tells.

        Sorted here, since not every server sorts by the whole key (SeaweedFS goes by folders): about half a kilobyte of
        memory per object, so list an asset rather than a bucket.
        """
        wanted = self._prefix + check_prefix(prefix)
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=wanted)
        with s3_errors(prefix):
            entries: list[dict[str, Any]] = [dict(entry) for page in pages for entry in page.get("Contents", [])]
        entries.sort(key=itemgetter("Key"))
        for entry in entries:
            yield _listed(entry["Key"].removeprefix(self._prefix), entry)

    def copy(self, source: str, key: str) -> ObjectInfo:
        kept = self.head(source)
        check_encoding(check_key(key), kept.encoding)
        with s3_errors(source):
            self._client.copy(
                {"Bucket": self._bucket, "Key": self._at(source)},
                self._bucket,
                self._at(key),
                ExtraArgs=_headers(kept.type, kept.cache, kept.encoding) | {"MetadataDirective": "REPLACE"},
                Config=TransferConfig(multipart_threshold=_COPY_LIMIT),
            )
        return self.head(key)

    def delete(self, key: str) -> None:
        with s3_errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._at(key))

    def presign(self, key: str, *, ttl_s: int) -> str:
        """A GET URL on the store's endpoint. Made offline: it does not tell whether the object exists."""
        with s3_errors(key):
            at = {"Bucket": self._bucket, "Key": self._at(key)}
            return self._client.generate_presigned_url("get_object", Params=at, ExpiresIn=ttl_s)

    def in_parts(self) -> S3Parts:
        """The same bucket and prefix, for objects that come in parts."""
        return S3Parts(self._client, self._bucket, self._prefix)

    def _write(
        self, key: str, body: BinaryIO, headers: dict[str, Any], condition: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """Bytes stored and S3's answer: one request when the data fits a part, else a multipart upload."""
        at = {"Bucket": self._bucket, "Key": self._at(key)}
        first = read_part(body)
        if len(first) < PART_SIZE:
            return len(first), self._put_small(at | headers | condition | {"Body": first})
        return upload_parts(self._client, at, parts_of(first, body), headers, condition)

    def _put_small(self, request: dict[str, Any]) -> dict[str, Any]:
        """PutObject, again when AWS answers that another conditional put of the key is just under way."""
        for tries in range(_CONFLICT_TRIES):
            try:
                return dict(self._client.put_object(**request))
            except ClientError as error:
                if error_code(error) != "ConditionalRequestConflict":
                    raise
                fault = error
                _pause(tries)
        raise fault

    def _own(self, key: str, writer: str, error: ClientError) -> ObjectInfo:
        """The object, if it is ours after all: a retry is refused when the try before it won and its answer was lost."""
        refused = meaning(error, key)
        if isinstance(refused, ObjectExists) or error_code(error) == "NoSuchUpload":
            found = self._head(key)
            if found["Metadata"].get("writer") == writer:
                return _described(key, found)
        raise refused from error

    def _head(self, key: str) -> dict[str, Any]:
        with s3_errors(key):
            return dict(self._client.head_object(Bucket=self._bucket, Key=self._at(key)))

    def _get(self, key: str, start: int, end: int | None, version: dict[str, Any]) -> dict[str, Any] | None:
        """The answer for `bytes[start:end]`, None when there are none of them (left)."""
        if end is not None and start >= end:
            return None
        at: dict[str, Any] = {"Bucket": self._bucket, "Key": self._at(key)}
        wanted = f"bytes={start}-{'' if end is None else end - 1}"
        with s3_errors(key):
            try:
                return dict(self._client.get_object(**at, **version, Range=wanted))
            except ClientError as error:
                if error_code(error) == "InvalidRange":
                    return None
                if version and isinstance(meaning(error, key), ObjectExists):
                    raise StorageDown(f"{key} was replaced while it was read") from error
                raise

    def _at(self, key: str) -> str:
        return self._prefix + check_key(key)


def _client(endpoint: str | None, region: str | None, access_key: str | None, secret_key: str | None) -> "S3Client":
    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions())
    return boto3.session.Session(botocore_session=core).client(
        "s3",
        endpoint_url=endpoint,
        region_name=region or ("us-east-1" if endpoint else None),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            signature_version="s3v4",
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
            # Servers other than AWS know no bucket host names and not all of them the newer trailing checksums.
            s3={"addressing_style": "path" if endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@cache
def _descriptions() -> Loader:
    """What botocore reads about S3, for 80 ms each time; credentials are looked for anew in each session."""
    return create_loader()


def _opened(data: bytes | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(data, bytes):
        return BytesIO(data)
    return data.open("rb") if isinstance(data, Path) else nullcontext(data)


def _headers(type: str, cache: str | None, encoding: str | None) -> dict[str, Any]:
    named = {"ContentType": type, "CacheControl": cache, "ContentEncoding": encoding}
    return {name: value for name, value in named.items() if value is not None}


def _stored(key: str, headers: dict[str, Any], size: int, answer: dict[str, Any]) -> ObjectInfo:
    """Facts of what was just stored; its time is that of the answer, which spares a HEAD."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    modified = parsedate_to_datetime(date) if date else datetime.now(UTC)
    cache, encoding = headers.get("CacheControl"), headers.get("ContentEncoding")
    return ObjectInfo(key, size, _etag(answer), headers["ContentType"], modified, cache, encoding)


def _described(key: str, found: dict[str, Any]) -> ObjectInfo:
    kind, cache, encoding = (found.get(name) for name in ("ContentType", "CacheControl", "ContentEncoding"))
    return ObjectInfo(key, found["ContentLength"], _etag(found), kind or "", found["LastModified"], cache, encoding)


def _listed(key: str, entry: dict[str, Any]) -> ObjectInfo:
    facts = media_type(key), entry["LastModified"], None, encoding_of(key)
    return ObjectInfo(key, entry["Size"], _etag(entry), *facts)


def _etag(answer: dict[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


def _pause(tries: int) -> None:
    """Full jitter: anywhere up to 0.05, 0.1, 0.2 … seconds, so that many waiting clients come back apart."""
    time.sleep(random() * 0.05 * 2**tries)
