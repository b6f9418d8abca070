"""How the tests' HTTP clients speak to servers on this machine: without TLS.

A client reads the system's certificates when it is made, even for http://, and that costs more than all that a test asks.
"""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `verify=` of every httpx2 client: one context, with no certificates in it."""
