"""Proves the files of all platforms, tries whether that can fail, and compares lifters with QEMU. See docs/proof.md."""

import argparse
import multiprocessing
import pathlib
import sys
import time
import tomllib

import mutants
import processor
from engine import Refused
from platforms import PLATFORMS
from proofs import proved
from specification import ROOT


def prove(name, path):
    """A row of the table, or what was refused."""
    start, file = time.monotonic(), path.read_bytes()
    try:
        proofs = proved(PLATFORMS[name], file)
        unreached = proofs[0].unreached()
    except Refused as refused:
        return name, None, str(refused)
    proof = proofs[0]
    executed = {at + n for at, size in proof.executed.items() for n in range(size)}
    counts = {kind: sum(len(where) for where, found in unreached if found == kind) for _, kind in unreached}
    row = (
        mutants.digest(file)[:12],
        len(file),
        proof.headers,
        len(executed),
        len(proof.loaded - executed),
        ", ".join(f"{bytes_} {kind}" for kind, bytes_ in counts.items()),
        len(proof.executed),
        sum(proof.paths for proof in proofs),
        sum(proof.queries for proof in proofs),
        proof.depth,
        "+".join(type(proof.lifter).__name__ for proof in proofs),
        f"{time.monotonic() - start:.1f}",
    )
    return name, row, None


HEADS = (
    "platform",
    "sha256",
    "bytes",
    "headers",
    "executed",
    "read",
    "neither",
    "instructions",
    "paths",
    "queries",
    "stack",
    "lifters",
    "seconds",
)


def table(heads, rows):
    rows = [heads, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def main():
    parser = argparse.ArgumentParser(prog="tests/proof/run", description=__doc__)
    parser.add_argument(
        "--programs",
        type=pathlib.Path,
        default=ROOT / "target/pause",
        help="where linux/…/pause lie, as `cargo xtask build --platform all` puts them",
    )
    parser.add_argument("--platform", choices=PLATFORMS, action="append", help="only this one")
    parser.add_argument(
        "--mutants", type=int, metavar="N", help="also try N changes of each file, which must be refused"
    )
    parser.add_argument("--seed", help="of the changes; without it that of the file's digest")
    parser.add_argument("--weakened", action="store_true", help="also try whether each check is needed")
    parser.add_argument("--search", action="store_true", help="write weakened.txt anew from the changes that are tried")
    parser.add_argument(
        "--states",
        type=int,
        metavar="N",
        help="also compare each instruction of s390x and loong64 with QEMU's user mode in N states",
    )
    options = parser.parse_args()
    files = {name: options.programs / name / "pause" for name in options.platform or PLATFORMS}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; build them: cargo xtask build --platform all")
    with multiprocessing.Pool() as pool:
        results = pool.starmap(prove, files.items(), chunksize=1)
        print(table(HEADS, [(name, *row) for name, row, _ in results if row]))
        release = tomllib.loads((ROOT / "release.toml").read_text())
        recorded = {image["program"]["digest"] for image in release["image"]}
        for name, path in files.items():
            if "sha256:" + mutants.digest(path.read_bytes()) not in recorded:
                print(f"{name}: not the program that release.toml records")
        refused = [f"{name}: not proved: {error}" for name, _, error in results if error]
        if refused:
            sys.exit("\n".join(refused))
        failures = []
        if options.mutants:
            failures += mutants.try_all(pool, files, options.mutants, options.seed, options.search)
        if options.weakened:
            failures += mutants.try_weakened(pool, files)
    if options.states:
        failures += processor.compare(files, options.states)
    sys.exit("\n".join(failures) or None)


if __name__ == "__main__":
    main()
