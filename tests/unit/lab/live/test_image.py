# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest's image: what it is made of, and the archive that the kernel starts with."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.live import image
from lab.live.image import cpio, digest_of, furnish, merge_usr, module_of


def entries_of(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read a newc archive: mode and content by name."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        begin = (at + 110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = mode, archive[begin : begin + size]
        at = (begin + size + 3) // 4 * 4


def test_the_kernels_archive_holds_what_was_put_in() -> None:
    entries = [("a", stat.S_IFDIR | 0o755, b""), ("a/bc", stat.S_IFREG | 0o644, b"12345"), ("x", stat.S_IFREG, b"")]
    assert entries_of(cpio(entries)) == {name: (mode, content) for name, mode, content in entries}


def test_a_changed_training_makes_another_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    guest = tmp_path / "guest"
    shutil.copytree(image.GUEST, guest)
    monkeypatch.setattr(image, "GUEST", guest)
    before = digest_of("light")
    assert before == digest_of("light") != digest_of("h2o")
    (guest / "__pycache__").mkdir(exist_ok=True)
    assert digest_of("light") == before
    with (guest / "training.py").open("a") as file:
        file.write("# changed\n")
    assert digest_of("light") != before


@pytest.mark.parametrize("split", [False, True])
def test_an_old_layout_of_packages_is_merged(tmp_path: Path, split: bool) -> None:
    libraries = tmp_path / ("lib64" if split else "usr/lib64")
    libraries.mkdir(parents=True)
    (tmp_path / "usr").mkdir(exist_ok=True)
    (libraries / "ld.so").write_text("loader")
    merge_usr(tmp_path)
    assert (tmp_path / "lib64").is_symlink()
    assert (tmp_path / "lib64" / "ld.so").read_text() == (tmp_path / "usr/lib64/ld.so").read_text() == "loader"


def test_the_guest_gets_its_trainings_and_its_share_of_the_flights(tmp_path: Path) -> None:
    csv = tmp_path / "flights.csv"
    csv.write_text("header\n" + "row\n" * 9_000)
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/share/doc").mkdir(parents=True)
    furnish(root, csv)
    assert len((root / "data/flights.csv").read_text().splitlines()) == image.ROWS + 1
    assert {"start.sh", "training.py", "dirty.py", "h2o_training.py"} <= {
        path.name for path in (root / "app").iterdir()
    }
    assert (root / "app/lab/h2o.py").is_file()
    assert (root / "usr/bin/sh").readlink() == Path("busybox")
    assert not (root / "usr/share/doc").exists()


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="Debian's kernel has no driver virtio_net"):
        module_of(tmp_path / "virtio_net.ko")
