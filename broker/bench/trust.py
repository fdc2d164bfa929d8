"""What the load generator and those who ask beside it trust and show where a URL is one of TLS."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from broker.client.tls import Tls
from broker.client.url import parse

if TYPE_CHECKING:
    from broker.bench.workload import Workload


def trust_of(url: str, workload: Workload) -> Tls | None:
    """What `workload` says of TLS, its context made; None for a URL without TLS. ValueError for a file of no use.

    It is made once for each URL, so that what is insecure is said once.
    """
    if not parse(url).secure:
        return None
    return _trust(url, workload.ca_file, workload.certificate, workload.key, workload.insecure)


@cache
def _trust(url: str, ca_file: str | None, certificate: str | None, key: str | None, insecure: bool) -> Tls:
    return Tls(ca_file=ca_file, certificate=certificate, key=key, insecure=insecure).ready(parse(url))
