"""Which address and ports a server listens on."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from packshot.errors import ServerStartError, expected


def ipv4(bind: str) -> str:
    """The address of a name, which Triton's HTTP and metrics services do not look up.

    Raises:
        InvalidArgument: it is an IPv6 address, which each of the services wants written in another way, or
            nobody knows the name.
    """
    try:
        return socket.gethostbyname(bind)
    except (OSError, UnicodeError):
        raise expected("bind", repr(bind), "an IPv4 address or the name of one") from None


def choose_ports(asked: Mapping[str, int | None], bind: str) -> dict[str, int]:
    """The ports asked for if they are free, free ones for those left open.

    Args:
        asked: port of each service, None for any.
        bind: address that they will listen on.

    Raises:
        InvalidArgument: a port is out of range or named twice.
        ServerStartError: a port is taken, or the address is not this machine's.
    """
    chosen, held = {}, []
    given = [port for port in asked.values() if port]
    if len(set(given)) < len(given) or not all(0 <= port < 2**16 for port in given):
        raise expected(
            "ports", ", ".join(f"{name} {port}" for name, port in asked.items()), "different ones to 65535"
        )
    try:
        for service, port in asked.items():
            # Held until all are chosen, so that no two services get the same one.
            held.append(socket.socket())
            held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held[-1].bind((bind, port or 0))
            except OSError as error:
                raise ServerStartError(
                    f"port {port or 'any'} for {service} on {bind} cannot be used: {error.strerror}"
                ) from None
            chosen[service] = held[-1].getsockname()[1]
    finally:
        for taken in held:
            taken.close()
    return chosen


def listens(address: str) -> bool:
    """Whether somebody does, at ``host:port``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
