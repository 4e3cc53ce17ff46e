"""Where no program may get to, whatever the allow-list says."""

import ipaddress

# Not even by an exception of the operator's: the proxy itself, its neighbours on the link, and what clouds tell
# their machines about themselves.
NEVER = (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
    # Oracle's, Alibaba's and AWS's metadata.
    "192.0.0.192/32", "100.100.100.200/32", "fd00:ec2::254/128",
    "::/128", "::1/128", "fe80::/10", "ff00::/8",
)  # fmt: skip
# Private, shared, or otherwise not of the internet.
PRIVATE = (
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    # Teredo and other special purposes, documentation, 6to4: relays to an IPv4 address inside them, or nobody's.
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
# Of all IPv6 only this part is handed out.
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# squid compares IPv4 addresses in this form: a network that holds it would hold all of IPv4.
MAPPED = ipaddress.ip_network("::ffff:0:0/96")


def outside(whole, part):
    """What of a network another, which lies in it, does not cover."""
    return list(whole.address_exclude(part))


def without(networks, opened):
    """`networks` less those that are opened."""
    for hole in opened:
        left = []
        for network in networks:
            if network.version != hole.version or not network.overlaps(hole):
                left.append(network)
            elif hole != network and hole.subnet_of(network):
                left += outside(network, hole)
            # Else the hole holds all of it.
        networks = left
    return networks


def refused(opened=(), own=(), stack=()):
    """All that is refused, as networks: the private ones and those of the proxy's own interfaces, less those the
    operator opened; the stack's, and what nobody can open."""
    never = [*map(ipaddress.ip_network, NEVER), *stack]
    private = [ipaddress.ip_network(network) for network in PRIVATE]
    private += outside(ipaddress.ip_network("::/0"), GLOBAL_IPV6)
    found = [*never, *without([*private, *own], list(opened))]
    whole = []
    for network in found:
        holds_mapped = network.version == 6 and MAPPED.subnet_of(network) and network != MAPPED
        whole += outside(network, MAPPED) if holds_mapped else [network]
    return [
        *ipaddress.collapse_addresses(network for network in whole if network.version == 4),
        *ipaddress.collapse_addresses(network for network in whole if network.version == 6),
    ]
