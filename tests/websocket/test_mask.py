"""`broker.websocket.mask`: one meaning, whichever function does it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.websocket import mask
from tests.statements import statement

KEYS = st.binary(min_size=4, max_size=4)


@statement("RFC6455-5.3")
@settings(deadline=None)
@given(data=st.binary(max_size=300), key=KEYS)
def test_each_octet_is_xored_with_the_key_octet_at_its_index_modulo_four(data: bytes, key: bytes) -> None:
    expected = bytes(octet ^ key[index % 4] for index, octet in enumerate(data))
    assert mask.xor_mask(data, key) == expected
    assert mask.apply_mask(data, key) == expected


@statement("RFC6455-5.3")
@settings(deadline=None)
@given(data=st.binary(max_size=300), key=KEYS)
def test_masking_twice_gives_the_data_back(data: bytes, key: bytes) -> None:
    assert mask.xor_mask(mask.xor_mask(data, key), key) == data


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 65_535, 65_536, 1_000_003])
def test_the_c_function_and_ours_agree_on_large_payloads(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert mask.apply_mask(data[:size], b"\x01\x80\xff\x00") == mask.xor_mask(data[:size], b"\x01\x80\xff\x00")


def test_without_the_c_function_ours_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert mask._fastest() is mask.xor_mask
