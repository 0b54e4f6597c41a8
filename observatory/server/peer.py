"""Whose socket is it? The user at the other end of a connection on this machine, asked of the Linux kernel.

Transcripts are readable by their owner only, and a port on loopback is open to every user of the machine. One netlink
request names the connection exactly, as the other end sees it; its cost does not grow with the number of sockets.
"""

import errno
import os
import socket
import struct
import sys

Address = tuple[str, int]

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states; then the socket
PORTS = struct.Struct("!HH")
REST_OF_ID = struct.Struct("=III")  # interface, and two halves of a cookie
UID_INODE = struct.Struct("=II")
UID_AT = NLMSG_HEADER.size + 4 + 48 + 12  # behind family … retransmits, the socket's id, and three counters
ANY_STATE = 0xFFFFFFFF
NO_COOKIE = 0xFFFFFFFF
REPLY_BYTES = 4096
MAPPED = "::ffff:"


def owner(theirs: Address, ours: Address) -> int | None:
    """The uid that owns the socket at `theirs`, connected to `ours`; None if there is none any more.

    A socket that its process has closed has no owner, and counts as gone: the kernel would say root.
    Raises OSError: the kernel does not tell.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.sendto(_request(theirs, ours), (0, 0))
        reply = netlink.recv(REPLY_BYTES, socket.MSG_DONTWAIT)  # the kernel answers within the send
    _, kind, _, _, _ = NLMSG_HEADER.unpack_from(reply)
    if kind != SOCK_DIAG_BY_FAMILY:
        (error,) = struct.unpack_from("=i", reply, NLMSG_HEADER.size)
        if -error in (errno.ENOENT, errno.ESTALE):
            return None
        raise OSError(-error, os.strerror(-error))
    uid, inode = UID_INODE.unpack_from(reply, UID_AT)
    return int(uid) if inode else None


def _request(theirs: Address, ours: Address) -> bytes:
    family, source = _packed(theirs[0])
    _, target = _packed(ours[0])
    identity = PORTS.pack(theirs[1], ours[1]) + source + target + REST_OF_ID.pack(0, NO_COOKIE, NO_COOKIE)
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, ANY_STATE) + identity
    return NLMSG_HEADER.pack(NLMSG_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + body


def _packed(host: str) -> tuple[int, bytes]:
    """Family and 16 bytes. An IPv4 client of an IPv6 listener has an IPv4 socket."""
    plain = host.partition("%")[0].removeprefix(MAPPED)
    if ":" in plain:
        return socket.AF_INET6, socket.inet_pton(socket.AF_INET6, plain)
    return socket.AF_INET, socket.inet_pton(socket.AF_INET, plain).ljust(16, b"\0")


def why_not() -> str | None:
    """Why owners cannot be told here, or None: tried with a connection of our own, over loopback."""
    if not sys.platform.startswith("linux"):
        return "this system does not say whose a connection is"
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()) as mine,
        ):
            found = owner(mine.getsockname(), mine.getpeername())
    except OSError as error:
        return f"the kernel does not say whose a connection is ({error.strerror or error})"
    return None if found == os.geteuid() else "the kernel does not name this process as the owner of its own socket"


def is_ours(uid: int | None) -> bool:
    """Whether a socket of that user may connect: our own, or root's, who can read everything anyway."""
    return uid is not None and uid in (0, os.geteuid())
