"""Multipart upload of a stream, a few parts at a time.

boto3's own transfer manager cannot make the last step conditional (`If-None-Match`), which `if_absent` rests on. Parts
are 8 MiB and grow after each thousand, so that S3's 10,000 parts reach 440 GB without knowing the size beforehand.
Memory is bounded by the parts in flight. An upload that fails is aborted: unfinished parts are invisible but cost money.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PART_SIZE = 8 << 20
_IN_FLIGHT = 4
_GROW_EVERY = 1000


def read_part(body: BinaryIO, size: int = PART_SIZE) -> bytes:
    """Exactly `size` bytes, fewer only at the end: a pipe or socket may give less than asked."""
    pieces: list[bytes] = []
    while size > 0 and (piece := body.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def upload_parts(
    client: "S3Client", at: dict[str, Any], parts: Iterator[bytes], headers: dict[str, Any], condition: dict[str, Any]
) -> tuple[int, dict[str, Any]]:
    """Store the parts as one object; its size and S3's answer to the last step, which `condition` binds."""
    upload = {**at, "UploadId": client.create_multipart_upload(**at, **headers)["UploadId"]}
    try:
        size, done = _send_all(client, upload, parts)
        return size, dict(client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": done}))
    except BaseException:
        with suppress(BotoCoreError, ClientError):
            client.abort_multipart_upload(**upload)
        raise


def parts_of(first: bytes, body: BinaryIO) -> Iterator[bytes]:
    """`first`, then the rest of the stream in growing parts."""
    number = 0
    part = first
    while part:
        yield part
        number += 1
        part = read_part(body, PART_SIZE * (1 + number // _GROW_EVERY))


def _send_all(client: "S3Client", upload: dict[str, Any], parts: Iterator[bytes]) -> tuple[int, list[Any]]:
    size = 0
    waiting: deque[Future[dict[str, Any]]] = deque()
    done: list[dict[str, Any]] = []
    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="s3-part") as pool:
        for number, part in enumerate(parts, start=1):
            size += len(part)
            if len(waiting) == _IN_FLIGHT:
                done.append(waiting.popleft().result())
            waiting.append(pool.submit(_send, client, upload, number, part))
        done.extend(future.result() for future in waiting)
    return size, done


def _send(client: "S3Client", upload: dict[str, Any], number: int, part: bytes) -> dict[str, Any]:
    answer = client.upload_part(**upload, PartNumber=number, Body=part)
    return {"PartNumber": number, "ETag": answer["ETag"]}
