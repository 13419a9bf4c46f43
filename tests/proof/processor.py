"""Compares what a lifter says of each instruction with what QEMU's user mode does, for the two platforms that only one
lifter knows: from random states, stepping through the file by the protocol of gdb(1)."""

import contextlib
import random
import socket
import subprocess
import tempfile
from pathlib import Path

from engine import Refused, State
from platforms import PLATFORMS, numbered
from proofs import proved
from z3 import BitVecVal, is_true, simplify

# The registers in the order of the protocol (gdb-xml/ in QEMU's source), and the emulator's program.
LOONG64 = (
    "zero",
    "ra",
    "tp",
    "sp",
    *numbered("a", (0, 8)),
    *numbered("t", (0, 9)),
    "r21",
    "fp",
    *numbered("s", (0, 9)),
    "orig_a0",
    "pc",
    "badv",
)
EMULATORS = {
    "linux/s390x": ("qemu-s390x-static", ("pswm", "pc", *numbered("r", (0, 16)))),
    "linux/loong64": ("qemu-loongarch64-static", LOONG64),
}
MEMORY = 1024  # bytes below the stack pointer, where random addresses lie; QEMU takes messages of 4096 characters
MASK = 2**64 - 1


class Emulator:
    def __init__(self, name, path):
        platform = PLATFORMS[name]
        command, self.names = EMULATORS[name]
        self.order = platform.byteorder
        self.directory = tempfile.TemporaryDirectory()
        door = Path(self.directory.name) / "gdb"
        self.process = subprocess.Popen([command, "-g", door, path])
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        while self.socket.connect_ex(str(door)) != 0:
            if self.process.poll() is not None:
                raise Refused("processor", f"{command} does not start")
        self.buffer = b""

    def close(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()
        self.directory.cleanup()

    def ask(self, text):
        self.socket.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())
        while (end := self.buffer.find(b"#")) < 0 or len(self.buffer) < end + 3:
            data = self.socket.recv(65536)
            if not data:
                raise Refused("processor", f"the emulator has ended at {text[:20]}")
            self.buffer += data
        answer = self.buffer[self.buffer.index(b"$") + 1 : end]
        self.buffer = self.buffer[end + 3 :]
        self.socket.sendall(b"+")
        return answer.decode()

    def registers(self):
        data = bytes.fromhex(self.ask("g"))
        return {name: int.from_bytes(data[8 * n : 8 * n + 8], self.order) for n, name in enumerate(self.names)}

    def set_registers(self, values):
        self.ask("G" + b"".join(values[name].to_bytes(8, self.order) for name in self.names).hex())

    def memory(self, address, size):
        return bytes.fromhex(self.ask(f"m{address:x},{size:x}"))

    def set_memory(self, address, data):
        self.ask(f"M{address:x},{len(data):x}:{data.hex()}")

    def step(self):
        return self.ask("s")


class Outside(Exception):
    """An access that this state makes elsewhere than where the memory is."""


class Concrete:
    """A proof's place for a lifter: one state, in which everything is known."""

    def __init__(self, proof, base, memory, start):
        self.platform, self.file, self.bits, self.fixed = proof.platform, proof.file, proof.bits, 0
        self.base, self.start, self.bytes = BitVecVal(base, self.bits), start, memory

    def require(self, check, holds, text, state=None):
        if not holds:
            raise Refused(check, text)

    def fork(self, state, condition):
        yield is_true(simplify(condition)), state

    def enters(self, state):
        pass

    def target(self, state, address):
        return (simplify(address).as_long() - self.base.as_long()) & MASK

    def load(self, state, address, size):
        address = simplify(address).as_long()
        at, where = address - self.start, self.bytes
        if not 0 <= at <= len(where) - size:
            at, where = address - self.base.as_long(), self.file
        if not 0 <= at <= len(where) - size:
            raise Outside
        return BitVecVal(int.from_bytes(where[at : at + size], self.platform.byteorder), 8 * size)

    def store(self, state, address, value):
        at, size = simplify(address).as_long() - self.start, value.size() // 8
        if not 0 <= at <= len(self.bytes) - size:
            raise Outside
        data = simplify(value).as_long().to_bytes(size, self.platform.byteorder)
        self.bytes[at : at + size] = data


def compare(files, count):
    """`count` states for each instruction; gives what differs."""
    failures = []
    for name in EMULATORS:
        if name in files:
            compared, differences = compare_one(name, files[name], count)
            print(
                f"\n{name}: {compared} states of {count} for each instruction compared with {EMULATORS[name][0]}, "
                f"{len(differences)} differ"
            )
            failures += differences
    return failures


def compare_one(name, path, count):
    platform = PLATFORMS[name]
    proof = proved(platform, path.read_bytes())[0]
    choose, compared, differences = random.Random(name), 0, []
    with contextlib.closing(Emulator(name, path)) as emulator:
        first = emulator.registers()
        base, top = first["pc"] - proof.entry, first[platform.stack]
        for pc in sorted(proof.executed):
            if proof.file[pc:].startswith((platform.call, *platform.traps)):
                continue
            done, tries = 0, 0
            while done < count:
                tries += 1
                if tries > 100 * count:
                    raise Refused("processor", f"no state for {pc:#x}")
                difference = one_state(emulator, proof, choose, first, base, top, pc)
                if difference is None:
                    continue
                done += 1
                if difference:
                    differences.append(f"{name}: {pc:#x}: {difference}")
                    break
            compared += done
    return compared, differences


def one_state(emulator, proof, choose, first, base, top, pc):
    """None if this state accesses what is not there, else what differs."""
    platform, lifter = proof.platform, proof.lifter
    start = top - MEMORY
    memory = bytearray(choose.randbytes(MEMORY))
    values = dict(first)
    names = (*platform.registers, platform.stack)
    for register in names:
        values[register] = choose.choice(
            (
                choose.getrandbits(64),
                choose.getrandbits(32),
                choose.randrange(-300, 300) & MASK,
                choose.randrange(8),
                start + choose.randrange(0, MEMORY, 8),
                start + choose.randrange(0, MEMORY, 8),
            )
        )
    values["pc"] = base + pc
    concrete = Concrete(proof, base, memory, start)
    before = bytes(memory)
    state = State(concrete, pc, None)
    lifter.proof, concrete.lifter = concrete, lifter
    lifter.begin(state)
    for register in names:
        state.set(register, BitVecVal(values[register], 64))
    condition = None
    if "pswm" in values:
        condition = choose.randrange(4)
        values["pswm"] = values["pswm"] & ~(3 << 44) | condition << 44
        lifter.set_condition(state, condition)
    try:
        successors, _ = lifter.step(state)
    except Outside:
        return None
    ((after, target),) = successors
    emulator.set_memory(start, before)
    emulator.set_registers(values)
    answer = emulator.step()
    if not answer.startswith(("S05", "T05")):
        return f"the processor answers {answer}"
    now = emulator.registers()
    for register in names:
        expected = simplify(after.register(register)).as_long()
        if expected != now[register]:
            return f"{register} is {now[register]:#x}, and not {expected:#x}, after {values[register]:#x}"
    if now["pc"] != (base + target) & MASK:
        return f"it goes on at {now['pc'] - base:#x}, and not at {target:#x}"
    if emulator.memory(start, MEMORY) != bytes(concrete.bytes):
        return "memory differs"
    if condition is not None and (expected := lifter.condition(after)) != now["pswm"] >> 44 & 3:
        return f"the condition code is {now['pswm'] >> 44 & 3}, and not {expected}"
    return ""
