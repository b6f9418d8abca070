"""The headers of tus requests, for the description of the API; `protocol` reads them."""

from typing import Annotated, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

Size = Annotated[str, Field(pattern="^[0-9]{1,18}$", description="In bytes.")]
Metadata = Annotated[
    str, Field(description="Pairs of a name and a value in base64: filename, title, policy, on_duplicate, asset_id.")
]
Checksum = Annotated[str, Field(description="`sha256 <digest in base64>`, of the body.")]

Headers = TypedDict("Headers", {"Tus-Resumable": Required[Literal["1.0.0"]]}, total=False)

CreateHeaders = TypedDict(
    "CreateHeaders",
    {
        "Tus-Resumable": Required[Literal["1.0.0"]],
        "Upload-Length": Size,
        "Upload-Defer-Length": Literal["1"],
        "Upload-Metadata": Metadata,
        "Upload-Concat": str,
        "Upload-Checksum": Checksum,
    },
    total=False,
)

AppendHeaders = TypedDict(
    "AppendHeaders",
    {
        "Tus-Resumable": Required[Literal["1.0.0"]],
        "Upload-Offset": Required[Size],
        "Upload-Length": Size,
        "Upload-Checksum": Checksum,
    },
    total=False,
)

OverrideHeaders = TypedDict(
    "OverrideHeaders",
    {
        "Tus-Resumable": Required[Literal["1.0.0"]],
        "X-HTTP-Method-Override": Required[Literal["HEAD", "PATCH", "DELETE"]],
        "Upload-Offset": Size,
    },
    total=False,
)
