"""Makes a libtorch folder (include/, lib/) out of PyTorch's wheels: libtorch_unpack.py PROFILE WHEELS TARGET."""

import pathlib
import shutil
import sys
import zipfile

profile, wheels, target = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
lib, include = target / "lib", target / "include"
lib.mkdir(parents=True)
include.mkdir()

# What a CPU binary loads. libtorch.so is a stub that tch's build looks for; nothing links it.
CPU_LIBRARIES = {"libtorch_cpu.so", "libc10.so", "libtorch.so", "libgomp.so.1"}


def wanted(name: str) -> pathlib.Path | None:
    """Where a member of a wheel goes, if it is needed at all."""
    path = pathlib.PurePosixPath(name)
    if name.endswith("/"):
        return None
    if path.parts[:2] == ("torch", "include"):
        return include.joinpath(*path.parts[2:])
    if path.parts[:2] == ("torch", "lib") and len(path.parts) == 3:
        return lib / path.name if profile == "cuda" or path.name in CPU_LIBRARIES else None
    if path.parts[0] == "nvidia" and ".so" in path.name:
        if profile == "cuda" or path.name.startswith(("libcudart.so", "libcupti.so")):
            return lib / path.name
    if path.parts[0] == "nvidia" and profile == "cuda" and "include" in path.parts:
        return include.joinpath(*path.parts[path.parts.index("include") + 1 :])
    return None


for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            goal = wanted(member.filename)
            if goal is None:
                continue
            goal.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(goal, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)

# Libraries are asked for by their plain names when linking.
for library in lib.glob("*.so.*"):
    plain = lib / (library.name.split(".so")[0] + ".so")
    if not plain.exists() and profile == "cuda":
        plain.symlink_to(library.name)
