"""Whether the proof can fail: changed files, which it must refuse, and checks left out, without which it must not."""

import hashlib
import random
import signal
import tomllib
from pathlib import Path

from engine import Refused
from platforms import PLATFORMS
from proofs import proved

HERE = Path(__file__).parent
# Changes that the proof lets through, each explained; and for each check a change that nothing else refuses.
LIMIT = 20  # seconds; the longest proof of an unchanged file takes two
# Behind these there would be nothing to go on with: an address or an instruction of which nothing is known, a loop
# without an end, a call that the contract does not have.
NO_WAY_ON = {
    "address",
    "call",
    "handler",
    "instruction",
    "jump",
    "load.argv",
    "loop",
    "solver",
    "stack",
    "store",
    "text",
    "time",
}
SURVIVORS, WEAKENED = HERE / "survivors.toml", HERE / "weakened.toml"


def changes(name, file, instructions, headers, count, seed):
    """`count` changes of a file: pairs of an offset and the bytes that come there. Half are flipped bits, the others
    are made on purpose: an instruction left out or replaced by another of the file; a byte one more or less, which is a
    constant, a length, a register or where a branch goes."""
    choose = random.Random(f"{name} {seed}")
    platform, places = PLATFORMS[name], sorted(instructions)
    found = set()
    while len(found) < count:
        at = choose.randrange(headers, len(file))
        here = choose.choice(places)
        size = instructions[here]
        kind = choose.choice(("flip", "flip", "flip", "nop", "replace", "step"))
        if kind == "flip":
            change = at, bytes([file[at] ^ 1 << choose.randrange(8)])
        elif kind == "step":
            change = at, bytes([(file[at] + choose.choice((1, -1))) % 256])
        elif kind == "nop":
            nop = max((nop for nop in platform.nops if size % len(nop) == 0), key=len)
            change = here, nop * (size // len(nop))
        else:
            other = choose.choice([other for other in places if instructions[other] == size])
            change = here, file[other : other + size]
        if changed(file, change) != file:
            found.add(change)
    return sorted(found)


def changed(file, change):
    at, data = change
    return file[:at] + data + file[at + len(data) :]


def digest(file):
    return hashlib.sha256(file).hexdigest()


def check(name, file, change, weakened=frozenset()):
    """The check that refuses a change of a file, or None. What takes long is refused: some changes make loops."""

    def too_long(*_):
        raise Refused("time", f"more than {LIMIT} seconds")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    try:
        proved(PLATFORMS[name], changed(file, change), weakened)[0].unreached()
    except Refused as refused:
        return refused.check
    except Exception as error:  # A fault of the proof's own, which must not be taken for a refusal.
        return f"fault: {error!r}"
    finally:
        signal.alarm(0)
    return None


def explanations(files):
    """For each platform, whose file has to be the one that is explained, the ranges in which a change may survive."""
    explained, failures = {}, []
    known = tomllib.loads(SURVIVORS.read_text())
    for name, file in files.items():
        if known[name]["sha256"] != digest(file):
            failures.append(f"{name}: {SURVIVORS.name} explains another file")
        explained[name] = [
            (*(int(word, 16) for word in where.split("-")), why)
            for why, places in known[name].items()
            if why != "sha256"
            for where in places
        ]
    return explained, failures


def try_all(pool, paths, count, seed, search):
    """Tries `count` changes of each file, two and more at once; gives what went wrong."""
    files = {name: path.read_bytes() for name, path in paths.items()}
    tasks = []
    for name, file in files.items():
        proof = proved(PLATFORMS[name], file)[0]
        tasks += [
            (name, file, change)
            for change in changes(name, file, proof.executed, proof.headers, count, seed or digest(file))
        ]
    outcomes = pool.starmap(check, tasks, chunksize=4)
    explained, failures = explanations(files)
    survived = {name: [] for name in files}
    for (name, file, (at, data)), refused in zip(tasks, outcomes):
        if refused is None:
            survived[name].append((at, data))
        elif refused.startswith("fault: "):
            failures.append(f"{name}: the change at {at:#x} to {data.hex()} ends the proof by {refused}")
    print()
    for name, file in files.items():
        print(f"{name}: {count} changes, {count - len(survived[name])} refused, {len(survived[name])} survived")
        for at, data in survived[name]:
            end = at + len(data)
            # Of the bytes it sets, those that differ.
            differ = [n for n in range(at, min(end, len(file))) if file[n] != data[n - at]]
            why = next((why for first, last, why in explained[name] if first <= differ[0] and differ[-1] <= last), None)
            print(f"  {at:#x} {file[at:end].hex()} -> {data.hex()}: {why}")
            if why is None:
                failures.append(
                    f"{name}: the change at {at:#x} to {data.hex()} is not refused, nor explained in {SURVIVORS.name}"
                )
    if search:
        write_weakened(pool, files, [(task, refused) for task, refused in zip(tasks, outcomes) if refused])
    return failures


def write_weakened(pool, files, refused):
    """For each check one of the changes it refused that gets through without it. Those known of the same files stay."""
    known = tomllib.loads(WEAKENED.read_text())
    if any(known.pop(name, {}).get("sha256") != digest(file) for name, file in files.items()):
        known = {}
    found = {
        name: (change["platform"], None, (change["at"], bytes.fromhex(change["bytes"])))
        for name, change in known.items()
    }
    waiting = {}
    for task, name in refused:
        if name not in found and name not in NO_WAY_ON:
            waiting.setdefault(name, []).append(task)
    while waiting:
        # A few of each, and then of those that are left.
        tasks = [(name, task) for name in sorted(waiting) for task in waiting[name][:4]]
        outcomes = pool.starmap(check, [(*task, frozenset([name])) for name, task in tasks], chunksize=1)
        for (name, task), outcome in zip(tasks, outcomes):
            if outcome is None:
                found.setdefault(name, task)
        waiting = {name: left[4:] for name, left in waiting.items() if name not in found and left[4:]}
        print(f"{len(found)} checks found necessary, {len(waiting)} to go: {', '.join(waiting)}", flush=True)
    lines = [f'"{name}".sha256 = "{digest(file)}"' for name, file in files.items()]
    for name, (platform, _, (at, data)) in sorted(found.items()):
        lines.append(f'"{name}" = {{ platform = "{platform}", at = {at:#x}, bytes = "{data.hex()}" }}')
    WEAKENED.write_text("\n".join(lines) + "\n")


def try_weakened(pool, paths):
    """Each check refuses a change that gets through without it."""
    files = {name: path.read_bytes() for name, path in paths.items()}
    known = tomllib.loads(WEAKENED.read_text())
    failures, tasks = [], []
    for name in PLATFORMS:
        recorded = known.pop(name)["sha256"]
        if name in files and recorded != digest(files[name]):
            failures.append(
                f"{name}: {WEAKENED.name} is of another file; write it anew: tests/proof/run --mutants 300 --search"
            )
    for name, change in known.items():
        if change["platform"] in files:
            task = change["platform"], files[change["platform"]], (change["at"], bytes.fromhex(change["bytes"]))
            tasks += [(name, task), (name, (*task, frozenset([name])))]
    outcomes = pool.starmap(check, [task for _, task in tasks], chunksize=1)
    for (name, _), with_it, without in zip(tasks[::2], outcomes[::2], outcomes[1::2]):
        if (with_it, without) != (name, None):
            failures.append(f"{name}: with it {with_it} refuses, without it {without}")
    print(f"\n{len(tasks) // 2} checks, without each of which a changed file gets through")
    return failures
