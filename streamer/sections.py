"""Tables of the configuration that tell how films come in, and what a table is. See `streamer.config` for the rest."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A table of the TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Ingest(Section):
    uploads: Literal["local", "storage"] = "local"
    """Where uploads grow: local, on the disk of the machine that takes them, or storage, in S3, where any web machine goes on with them."""
    part_url_s: int = Field(default=3600, ge=60)
    """Seconds that a signed URL for a part of an upload can be used, with uploads = "storage"."""
    max_upload_bytes: int = Field(default=64 << 30, ge=1)
    """Largest file that is taken, in bytes."""
    min_free_bytes: int = Field(default=1 << 30, ge=0)
    """Free disk space in bytes below which uploads are refused."""
    idle_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds an upload may send nothing."""
    expire_s: int = Field(default=24 * 3600, ge=60)
    """Seconds without a byte after which an unfinished upload is removed."""
    max_unfinished: int = Field(default=64, ge=1)
    """Resumable uploads a user may have unfinished at a time."""
    max_unfinished_bytes: int = Field(default=256 << 30, ge=1)
    """Bytes that a user's unfinished uploads may come to, as declared when they began."""
    hold_s: int = Field(default=7 * 86400, ge=60)
    """Seconds a possible duplicate waits for a decision; then it goes, or becomes a film if what it equals is gone."""
    glance: bool = True
    """Whether the first bytes of an upload are looked at while the rest arrives, to warn early of what will not work."""


class Fetch(Section):
    connect_s: float = Field(default=10.0, gt=0)
    """Seconds another server has for connecting and the head of its answer, at each redirect anew."""
    silence_s: float = Field(default=30.0, gt=0)
    """Seconds it may send nothing."""
    slowest_bytes_s: int = Field(default=4096, ge=1)
    """Bytes a second, over a minute, below which an import is broken off: it holds a worker."""
