"""What is in a store, told."""

from __future__ import annotations

import base64
import json
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from broker.packets.properties import forwarded_properties
from broker.packets.types import Properties
from broker.store.folder import StoreError
from broker.store.inspection import locate
from broker.store.telling import export, info
from tests.store.stores import MESSAGES, QUEUED, RETAINED, SESSIONS, STORE_TIME, Builder, build, flip, packed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return build(tmp_path / "data")


def test_info(builder: Builder, tmp_path: Path) -> None:
    with closing(builder):
        live = info(locate(tmp_path / "data"), most=2)
    assert not live["closed"]
    assert live["sizes"]["log"] > 0
    found = info(locate(tmp_path / "data"), most=2)
    assert found["closed"]
    assert (found["format"], found["commits"], found["store_time"]) == (1, builder.state.commits, STORE_TIME)
    assert found["database"] == str(tmp_path / "data" / "store.db")
    assert found["sizes"]["database"] == (tmp_path / "data" / "store.db").stat().st_size
    assert [rows for rows, _ in found["tables"].values()] == builder.state.counts
    records = [len(record) for (table, _), record in builder.rows.items() if table == MESSAGES]
    assert found["tables"]["messages"] == (len(records), sum(records))
    first, second = found["sessions"]
    assert (first["client_identifier"], second["client_identifier"]) == ("client-0", "client-1")
    assert first["messages"] > second["messages"] > 0
    assert first["bytes"] == 100 * first["messages"]
    assert first["away_since"] == STORE_TIME - 60
    assert found["more_sessions"] == 2
    assert found["oldest_message"] == {"row": 3, "topic": "a/2", "bytes": 20, "qos": 1}
    json.dumps(found)


def test_info_of_an_empty_store(tmp_path: Path) -> None:
    Builder(tmp_path / "data").close()
    found = info(locate(tmp_path / "data"))
    assert (found["sessions"], found["more_sessions"], found["oldest_message"]) == ([], 0, None)


def test_export_has_everything_once(builder: Builder, tmp_path: Path) -> None:
    builder.close()
    lines = [json.loads(json.dumps(told)) for told in export(locate(tmp_path / "data"))]
    counts = builder.state.counts
    assert Counter(line["type"] for line in lines) == {
        "store": 1,
        "session": counts[SESSIONS],
        "subscription": 6,
        "queued": counts[QUEUED],
        "exchange": 2,
        "retained": counts[RETAINED],
    }
    assert lines[0] == {"type": "store", "format": 1, "commits": builder.state.commits, "store_time": STORE_TIME}
    assert lines[4]["will"] == {
        "topic": "last/words",
        "payload_base64": base64.b64encode(b"\xff\x00").decode(),
        "qos": 1,
        "retain": True,
        "delay_interval": 30,
        "message_expiry_interval": None,
    }
    assert [line["topic_filter"] for line in lines if line["type"] == "subscription"][:2] == ["a/#", "$share/g/b/1"]
    queue = [line for line in lines if line["type"] == "queued" and line["session"] == "client-2"]
    assert [line["row"] for line in queue] == sorted(line["row"] for line in queue)
    for line in queue:
        index = line["message"] - 1
        payload = b"%d " % index * (1500 if index % 20 == 3 else 10)
        assert line["topic"] == f"a/{index % 7}"
        if index % 5:
            assert line["payload"] == payload.decode()
        else:
            assert base64.b64decode(line["payload_base64"]) == b"\xfe" + payload
        assert line["packet_identifier"] == index % 3
    assert [line["incoming"] for line in lines if line["type"] == "exchange"] == [True, False]


def test_properties_and_expiry(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "data")
    number = builder.session("one")
    properties = Properties()
    properties.content_type = "text/plain"
    properties.correlation_data = b"\x00\xff"
    properties.user_properties = [("a", "1"), ("a", "2")]
    for forwarded in (forwarded_properties(properties), b"\x99"):
        builder.queued(number, builder.message("t", b"x", forwarded, STORE_TIME + 5))
    builder.close()
    first, second = [told for told in export(locate(tmp_path / "data")) if told["type"] == "queued"]
    assert first["properties"] == {
        "content_type": "text/plain",
        "user_properties": [("a", "1"), ("a", "2")],
        "correlation_data_base64": "AP8=",
    }
    assert first["expires_at"] == STORE_TIME + 5
    assert second["properties_base64"] == "mQ=="


def test_the_author_of_a_retained_message_is_told(builder: Builder, tmp_path: Path) -> None:
    row = builder.number(RETAINED)
    builder.add(RETAINED, packed(RETAINED, row, "r", b"x", 1, True, b"", None, ["user:ann", "c", ["role"]]))
    builder.close()
    told = {each["topic"]: each for each in export(locate(tmp_path / "data")) if each["type"] == "retained"}
    assert told["r"]["author"] == {"principal": "user:ann", "client_identifier": "c", "roles": ("role",)}
    assert [topic for topic, each in told.items() if "author" in each] == ["r"]
    assert len(told) > 1


def test_what_belongs_to_ended_sessions_is_not_told(builder: Builder, tmp_path: Path) -> None:
    builder.delete(SESSIONS, 1)
    builder.close()
    lines = list(export(locate(tmp_path / "data")))
    assert not any(line.get("session") == "client-0" for line in lines)
    assert {line["type"] for line in lines} == {"store", "session", "subscription", "queued", "retained"}


def test_a_damaged_record_ends_it(builder: Builder, tmp_path: Path) -> None:
    record = builder.rows[RETAINED, 14]
    builder.close()
    database = tmp_path / "data" / "store.db"
    flip(database, database.read_bytes().index(record) + 5)
    told = export(locate(tmp_path / "data"))
    with pytest.raises(StoreError, match=r"row 14 of table retained: the checksum is wrong; `broker store check`"):
        list(told)


def test_a_record_that_is_no_blob_ends_it(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("UPDATE retained SET rec = 'text' WHERE id = 14")
    builder.close()
    with pytest.raises(StoreError, match=r"row 14 of table retained: it is no BLOB"):
        list(export(locate(tmp_path / "data")))


def test_a_message_that_is_missing_ends_it(builder: Builder, tmp_path: Path) -> None:
    builder.connection.execute("DELETE FROM messages WHERE id = 40")
    builder.close()
    with pytest.raises(StoreError, match="its message, row 40 of table messages, is not there"):
        list(export(locate(tmp_path / "data")))
