"""Password hashes of other systems, so that people who move here keep their passwords. Each is replaced by argon2id at the first right password.

    $2b$12$…  or  bcrypt$$2b$12$…     bcrypt, also 2a and 2y; of a long password the first 72 bytes count, as everywhere
    sha1$<salt>$<hex>                  SHA-1 of salt and password, one after the other
    md5$<salt>$<hex>                   MD5 of the same

The last two are as Django writes them. They are weak: whoever has the table has most of the passwords, until their owners have signed in.
"""

import hashlib
import hmac
import re

_BCRYPT = re.compile(r"(?:bcrypt\$)?(\$2[aby]\$\d\d\$[./A-Za-z0-9]{53})")
_SALTED = re.compile(r"(md5|sha1)\$([!-#%-~]{1,64})\$([0-9a-fA-F]{32}|[0-9a-fA-F]{40})")
_HEX = {"md5": 32, "sha1": 40}
_BCRYPT_BYTES = 72


def is_one(stored: str) -> bool:
    """Whether it is a hash of these."""
    salted = _SALTED.fullmatch(stored)
    return bool(_BCRYPT.fullmatch(stored)) or (salted is not None and len(salted[3]) == _HEX[salted[1]])


def verify(stored: str, password: str) -> bool:
    """Whether the password is right; False for a hash that is none of these."""
    if not is_one(stored):
        return False
    if found := _BCRYPT.fullmatch(stored):
        return _verify_bcrypt(found[1], password)
    kind, salt, digest = stored.split("$")
    right = hashlib.new(kind, (salt + password).encode(), usedforsecurity=False).hexdigest()
    return hmac.compare_digest(right, digest.lower())


def _verify_bcrypt(stored: str, password: str) -> bool:
    import bcrypt  # here, because most installations never meet one

    try:
        return bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], stored.encode())
    except ValueError:  # a cost out of its range, a NUL in the password
        return False
