"""AES-128 as HLS has it (RFC 8216 §5.2): CBC over the whole segment with PKCS7 padding; the IV is the media sequence number unless one is given."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7


def sequence_iv(number: int) -> bytes:
    """The IV of segment `number` where EXT-X-KEY has none."""
    return number.to_bytes(16, "big")


def decrypt(data: bytes, key: bytes, iv: bytes) -> bytes:
    """The segment in the clear. Raises ValueError when key, length or padding are wrong."""
    padding = PKCS7(128).unpadder()
    return padding.update(decrypt_blocks(data, key, iv)) + padding.finalize()


def decrypt_blocks(data: bytes, key: bytes, iv: bytes) -> bytes:
    """Whole blocks in the clear, padding and all."""
    reader = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return reader.update(data) + reader.finalize()
