"""What counts as one client: an IPv4 address, or the /64 that an IPv6 address lies in, because whoever has one of those has them all."""

from ipaddress import IPv4Address, ip_address, ip_network

_ONE_CUSTOMER = 64  # bits; the smallest network that providers give out


def network(address: str) -> str:
    """The client behind an address, for counting; IPv4 in its IPv6 form is IPv4. What is no address counts as itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, _ONE_CUSTOMER), strict=False))
