"""What a Workload says of TLS."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

import pytest

from broker.bench.trust import trust_of
from broker.bench.workload import Workload
from tests.secured import Papers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("url", ["mqtt://a", "ws://a", "unix:/a"])
def test_nothing_is_trusted_without_tls(url: str) -> None:
    assert trust_of(url, Workload(url=url, ca_file="/nowhere")) is None


def test_a_context_for_each_url_is_made_once(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    workload = Workload(
        url="", ca_file=str(papers.ca), certificate=str(papers.client_certificate), key=str(papers.client_key)
    )
    one = trust_of("mqtts://a", workload)
    assert one is not None
    assert one.context is not None
    assert one.context.verify_mode == ssl.CERT_REQUIRED
    assert trust_of("mqtts://a", workload) is one
    other = trust_of("wss://a", workload)
    assert other is not None
    assert other.context is not one.context


def test_files_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        trust_of("mqtts://a", Workload(url="", ca_file=str(tmp_path / "none")))


def test_insecure_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        trust = trust_of("mqtts://nobody.test", Workload(url="", insecure=True))
        assert trust is not None
        assert trust.context is not None
        assert trust.context.verify_mode == ssl.CERT_NONE
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
