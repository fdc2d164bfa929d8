"""What memory the process uses, and what its control group allows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from broker.transport.memory import PAGE, of_control_group, resident

if TYPE_CHECKING:
    from pathlib import Path

V2 = "0::/system.slice/triomq.service\n"
V1 = "12:cpu,cpuacct:/docker/0123\n9:memory:/docker/0123\n1:name=systemd:/docker/0123\n0::/\n"
NONE_1 = "9223372036854771712\n"


def allowed(root: Path, groups: str, **bounds: str) -> int:
    """With what stands in /proc/self/cgroup, and the bounds by path below /sys/fs/cgroup, `__` for its slashes."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, bound in bounds.items():
        file = root / "sys/fs/cgroup" / name.replace("__", "/").replace("memory_", "memory.")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(bound)
    return of_control_group(root)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_the_process_uses() -> None:
    used = resident()
    assert used > 1_000_000
    assert used % PAGE == 0


def test_a_unit_of_systemd(tmp_path: Path) -> None:
    own = {"system.slice__triomq.service__memory_max": "1000000\n", "system.slice__memory_max": "max\n"}
    assert allowed(tmp_path, V2, **own) == 800_000


def test_the_least_bound_of_all_groups_counts(tmp_path: Path) -> None:
    own = {"system.slice__triomq.service__memory_max": "1000000\n", "system.slice__memory_max": "500000\n"}
    assert allowed(tmp_path, V2, **own) == 400_000


def test_a_container_sees_its_group_as_the_root(tmp_path: Path) -> None:
    assert allowed(tmp_path, "0::/\n", memory_max="2000\n") == 1600


def test_version_1(tmp_path: Path) -> None:
    own = {"memory__memory_limit_in_bytes": "3000\n", "memory__docker__0123__memory_limit_in_bytes": NONE_1}
    assert allowed(tmp_path, V1, **own) == 2400


def test_no_bound_is_none(tmp_path: Path) -> None:
    for number, (groups, bounds) in enumerate(
        [
            (V2, {"system.slice__triomq.service__memory_max": "max\n"}),
            (V1, {"memory__memory_limit_in_bytes": NONE_1}),
            (V1, {}),
            ("", {"memory_max": "1000\n"}),
            ("nonsense\n", {"memory_max": "1000\n"}),
            ("0::/\n", {"memory_max": "nonsense\n"}),
        ]
    ):
        assert allowed(tmp_path / str(number), groups, **bounds) == 0
    assert of_control_group(tmp_path / "not there") == 0
