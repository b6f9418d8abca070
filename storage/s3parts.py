"""A PartStore in any S3: multipart uploads that stay open between requests.

S3 lists what is open for the whole bucket, oldest first within a key. A multipart upload that was completed or aborted is unknown to S3
from then on, which here is ObjectMissing: only the caller can tell whether the object is there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from storage.base import ObjectMissing, Part, PartsChanged, Unfinished, check_key, check_prefix
from storage.s3errors import error_code, s3_errors

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CHANGED = {"InvalidPart", "InvalidPartOrder", "EntityTooSmall"}


class S3Parts:
    """The parts of one bucket, below an optional prefix; made by `S3Store.in_parts`, whose client and keys it shares."""

    def __init__(self, client: "S3Client", bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def begin(self, key: str) -> str:
        with s3_errors(key):
            answer = self._client.create_multipart_upload(**self._at(key), ContentType="application/octet-stream")
        return str(answer["UploadId"])

    def put_part(self, key: str, handle: str, number: int, data: bytes) -> Part:
        with _part_errors(key):
            answer = self._client.upload_part(**self._at(key), UploadId=handle, PartNumber=number, Body=data)
        return Part(number, len(data), answer["ETag"].strip('"'))

    def copy_part(self, key: str, handle: str, number: int, source: str, start: int, length: int) -> Part:
        with _part_errors(key):
            answer = self._client.upload_part_copy(
                **self._at(key),
                UploadId=handle,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": self._prefix + check_key(source)},
                CopySourceRange=f"bytes={start}-{start + length - 1}",
            )
        return Part(number, length, answer["CopyPartResult"]["ETag"].strip('"'))

    def presign_part(self, key: str, handle: str, number: int, size: int, *, ttl_s: int) -> str:
        asked = {**self._at(key), "UploadId": handle, "PartNumber": number, "ContentLength": size}
        with s3_errors(key):
            return self._client.generate_presigned_url("upload_part", Params=asked, ExpiresIn=ttl_s)

    def parts(self, key: str, handle: str) -> list[Part]:
        pages = self._client.get_paginator("list_parts").paginate(**self._at(key), UploadId=handle)
        with _part_errors(key):
            found = [entry for page in pages for entry in page.get("Parts", [])]
        return [Part(entry["PartNumber"], entry["Size"], entry["ETag"].strip('"')) for entry in found]

    def complete(self, key: str, handle: str, parts: Sequence[Part]) -> None:
        named: Any = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with _part_errors(key):
            self._client.complete_multipart_upload(**self._at(key), UploadId=handle, MultipartUpload={"Parts": named})

    def abandon(self, key: str, handle: str) -> None:
        try:
            with _part_errors(key):
                self._client.abort_multipart_upload(**self._at(key), UploadId=handle)
        except ObjectMissing:
            return

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        wanted = self._prefix + check_prefix(prefix)
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=wanted)
        with s3_errors(prefix):
            found = [entry for page in pages for entry in page.get("Uploads", [])]
        for entry in found:
            yield Unfinished(entry["Key"].removeprefix(self._prefix), entry["UploadId"], entry["Initiated"])

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_key(key)}


@contextmanager
def _part_errors(key: str) -> Iterator[None]:
    with s3_errors(key):
        try:
            yield
        except ClientError as error:
            if error_code(error) == "NoSuchUpload":
                raise ObjectMissing(f"{key} is whole or was given up") from error
            if error_code(error) in _CHANGED:
                raise PartsChanged(f"{key}: {error}") from error
            raise
