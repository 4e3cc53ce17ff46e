"""The networks that no program may reach, whatever the allow-list says."""

import ipaddress

# The operator cannot allow these: the proxy itself, its link-local neighbours, and the metadata services of clouds.
NEVER = (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
    # Metadata services of Oracle, Alibaba and AWS.
    "192.0.0.192/32", "100.100.100.200/32", "fd00:ec2::254/128",
    "::/128", "::1/128", "fe80::/10", "ff00::/8",
)  # fmt: skip
# Private, shared, or otherwise not part of the public internet.
PRIVATE = (
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    # Teredo and other special purposes, documentation, 6to4: they relay to an embedded IPv4 address or are unassigned.
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
# IANA has allocated only this part of IPv6 for global unicast.
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# squid compares IPv4 addresses in this mapped form: a refused network that contains it would refuse all of IPv4.
MAPPED = ipaddress.ip_network("::ffff:0:0/96")


def outside(whole, part):
    """Return `whole` less `part`, a subnet of it, as a list of networks."""
    return list(whole.address_exclude(part))


def without(networks, opened):
    """Return `networks` less the opened networks."""
    for hole in opened:
        left = []
        for network in networks:
            if network.version != hole.version or not network.overlaps(hole):
                left.append(network)
            elif hole != network and hole.subnet_of(network):
                left += outside(network, hole)
            # Otherwise the hole covers the whole network.
        networks = left
    return networks


def refused(opened=(), own=(), stack=()):
    """Return all refused networks, collapsed, IPv4 first.

    These are the private networks and the `own` interfaces' networks, less the `opened` ones; and, whatever is
    opened, NEVER and the networks of the `stack`.
    """
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
