"""Symbolic execution of one file: every path from _start and from the signal handler, for any arguments, any results of
system calls, and any content of registers and stack that the ABI leaves open.

Between two system calls paths are followed one by one. Behind a system call those in the same state of the
specification are joined: what differs between them is forgotten. The loop over the arguments is proved by induction
over its counter.
"""

import re
import struct

import specification
from z3 import (
    And,
    BitVec,
    BitVecSort,
    BitVecVal,
    BoolVal,
    Concat,
    Extract,
    Function,
    If,
    Not,
    Solver,
    ULT,
    LShR,
    Z3_OP_ITE,
    is_app_of,
    is_bv_value,
    is_not,
    is_true,
    simplify,
    substitute,
    unknown,
    unsat,
)
from z3.z3util import get_vars

# Two pages to lift at: what moves with them is an address in the file.
BASES = 0x10000, 0x7F3000


class Refused(Exception):
    """Something that is not proved: the name of the check, and what was seen where."""

    def __init__(self, check, text):
        super().__init__(f"{check}: {text}")
        self.check = check


def chooses(value):
    return is_app_of(value, Z3_OP_ITE) or any(chooses(part) for part in value.children())


class State:
    """What a path knows: cells are bytes of registers and of the stack, each as (an expression, which byte of it)."""

    def __init__(self, proof, pc, step):
        self.proof, self.pc, self.step = proof, pc, step
        self.cells, self.temporaries = {}, {}
        self.conditions, self.visited, self.trail, self.accesses = [], {}, (), ()
        # In the loop over the arguments: the number of the one compared last.
        self.index = None

    def copy(self):
        other = State(self.proof, self.pc, self.step)
        other.cells, other.temporaries = dict(self.cells), dict(self.temporaries)
        other.conditions, other.visited = list(self.conditions), dict(self.visited)
        other.trail, other.accesses, other.index = self.trail, self.accesses, self.index
        return other

    def cell(self, key):
        """What was never written has one unknown value, the same on every path."""
        return self.cells.get(key) or (BitVec(f"initial {key[0]} {key[1]}", 8), 0)

    def order(self, size):
        """The bytes of a value in memory, the least significant first."""
        return range(size) if self.proof.platform.little else range(size - 1, -1, -1)

    def read(self, space, offset, size):
        if space == "temporary":
            cells = [self.temporaries.get(offset + n) for n in self.order(size)]
            if None in cells:
                raise Refused("instruction", f"the one at {self.pc:#x} is described as part of another")
        else:
            cells = [self.cell((space, offset + n)) for n in self.order(size)]
        value, first = cells[0]
        if all(other.eq(value) and n == first + count for count, (other, n) in enumerate(cells)):
            return value if value.size() == 8 * size else simplify(Extract(8 * (first + size) - 1, 8 * first, value))
        return simplify(Concat(*(Extract(8 * n + 7, 8 * n, value) for value, n in reversed(cells))))

    def write(self, space, offset, value):
        value = simplify(value)
        for n, place in enumerate(self.order(value.size() // 8)):
            if space == "temporary":
                self.temporaries[offset + place] = value, n
            else:
                self.cells[space, offset + place] = value, n

    def assume(self, condition):
        """A condition that holds from here on; values that depend on it are chosen."""
        self.conditions.append(condition)
        known = (condition.arg(0), BoolVal(False)) if is_not(condition) else (condition, BoolVal(True))
        for key, (value, n) in self.cells.items():
            if chooses(value):
                self.cells[key] = simplify(substitute(value, known)), n

    def register(self, name):
        return self.read("register", *self.proof.lifter.register(name))

    def set(self, name, value):
        self.write("register", self.proof.lifter.register(name)[0], value)


class Node:
    """Where paths meet: behind a system call, in one state of the specification, with one kind of result."""

    def __init__(self, state):
        self.state, self.forgotten = state, set()


class Loop:
    """The head of the loop over the arguments, as a function of how many of them are left: `left` of them have not been
    compared, and none of the others is an option."""

    def __init__(self, state, count, left):
        self.state, self.count, self.left = state, count, left
        self.moving = {key for key, (value, _) in state.cells.items() if any(var.eq(count) for var in get_vars(value))}
        self.forgotten = set()

    def expected(self, key, count):
        value, n = self.state.cell(key)
        return (simplify(substitute(value, (self.count, count))) if key in self.moving else value), n


class Restart(Exception):
    """A loop was found, so what was explored before is explored again with it."""


class Proof:
    # The kernel puts at most three quarters of 8 MiB of pointers there (bprm_stack_limits in fs/exec.c).
    MOST_ARGUMENTS = 2**28

    def __init__(self, platform, file, lifter, weakened=frozenset()):
        self.platform, self.file, self.weakened = platform, file, weakened
        self.executed, self.loaded, self.calls = {}, set(), set()
        self.depth = self.queries = self.paths = 0
        self.bits = 8 * platform.word
        self.read_header()
        self.lifter = lifter(self)
        self.solver = Solver()
        self.solver.set("timeout", 20_000)
        self.count = self.word("argc")
        self.byte = Function("argument", BitVecSort(self.bits), BitVecSort(8), BitVecSort(8))
        self.pointers, self.loops = {}, {}

    def word(self, value):
        return BitVec(value, self.bits) if isinstance(value, str) else BitVecVal(value, self.bits)

    def read_header(self):
        """The ELF header (elf(5)): one segment, the whole file, to be read and executed."""
        wide, order = self.file[4] == 2, "<" if self.file[5] == 1 else ">"
        kind, machine, _, entry, table = struct.unpack_from(order + ("HHIQQ" if wide else "HHIII"), self.file, 16)
        size, count = struct.unpack_from(order + "HH", self.file, 54 if wide else 42)
        self.headers = table + size * count
        segments = []
        for n in range(count):
            if wide:
                type_, flags, offset, address, _, bytes_, memory = struct.unpack_from(
                    order + "IIQQQQQ", self.file, table + n * size
                )
            else:
                type_, offset, address, _, bytes_, memory, flags = struct.unpack_from(
                    order + "IIIIIII", self.file, table + n * size
                )
            segments.append((type_, flags, offset, address, bytes_, memory))
        load, stack = segments
        size = len(self.file)
        self.fixed = load[3]
        self.require("header.machine", machine == self.platform.machine, f"e_machine is {machine}")
        self.require("header.load", load[:3] == (1, 5, 0) and load[4:] == (size, size), f"the segment is {load}")
        self.require("header.stack", stack[:2] == (0x6474E551, 6), f"the stack's header is {stack}")
        self.require("header.type", kind == (2 if self.fixed else 3), f"e_type is {kind}")
        self.require("header.entry", entry & 1 == self.platform.thumb, "the entry point's bit 0 is not that of Thumb")
        self.entry = (entry & ~self.platform.thumb) - self.fixed
        self.base = self.word(self.fixed or "base")

    # What is asserted

    def require(self, check, holds, text, state=None):
        if check in self.weakened:
            return
        if not isinstance(holds, bool):
            holds = self.holds(state, holds)
        if not holds:
            where = f" at {state.pc:#x}, after {', '.join(state.trail) or 'no call'}" if state else ""
            raise Refused(check, text + where)

    def holds(self, state, condition):
        condition = simplify(condition)
        return is_true(condition) or not self.possible(state, Not(condition))

    def possible(self, state, *conditions):
        self.queries += 1
        answer = self.solver.check(*state.conditions, *conditions)
        if answer == unknown:
            raise Refused("solver", f"{self.solver.reason_unknown()} at {state.pc:#x}")
        return answer != unsat

    def fork(self, state, condition):
        """The state where a condition holds and the one where it does not, as far as they are possible."""
        condition = simplify(condition)
        for outcome, known in ((True, condition), (False, simplify(Not(condition)))):
            if is_true(known):
                yield outcome, state
            elif not is_true(simplify(Not(known))) and self.possible(state, known):
                branch = state.copy()
                branch.assume(known)
                yield outcome, branch

    # Memory

    def number(self, state, value):
        """The signed number an expression is, if it is the same for everything that is unknown."""
        value = simplify(value)
        if not is_bv_value(value):
            if any(str(var).startswith("initial") for var in get_vars(value)):
                return None
            self.possible(state, *self.aligned)
            only = self.solver.model().eval(value, model_completion=True)
            if self.possible(state, *self.aligned, value != only):
                return None
            value = only
        return value.as_signed_long()

    def place(self, state, address):
        """What an address points at: ("file", offset), ("stack", offset), ("argv", index)
        or ("argument", index, offset)."""
        names = {str(var) for var in get_vars(address)}
        for pointer, index in self.pointers.items():
            if pointer in names:
                return "argument", index, self.number(state, address - self.word(pointer))
        if "stack" in names:
            offset = address - self.stack
            number = self.number(state, offset)
            if number is not None and not (self.arguments and number >= self.platform.word):
                return "stack", number
            if self.arguments:
                above = simplify(offset - self.platform.word)
                shift = self.platform.word.bit_length() - 1
                self.require(
                    "argv",
                    And(Extract(shift - 1, 0, above) == 0, ULT(LShR(above, shift), self.count)),
                    "what is read above argc is not an argument",
                    state,
                )
                return "argv", simplify(LShR(above, shift))
        elif "base" in names or self.fixed:
            number = self.number(state, address - self.base)
            if number is not None:
                return "file", number
        raise Refused("address", f"{address} at {state.pc:#x} is nothing known")

    def top(self, state):
        """The stack pointer, from the first one."""
        top = self.number(state, state.register(self.platform.stack) - self.stack)
        self.require("stack", top is not None, "the stack pointer is not known", state)
        return top

    def in_frame(self, state, check, offset, size, above, top):
        holds = top - self.platform.red_zone <= offset and offset + size <= above
        self.require(check, holds, f"{size} bytes at {offset} from the first stack pointer, and it is at {top}", state)

    def load(self, state, address, size):
        place = self.place(state, address)
        match place:
            case "file", offset:
                self.require("load.file", 0 <= offset and offset + size <= len(self.file), f"offset {offset}", state)
                data = self.file[offset : offset + size]
                self.loaded.update(range(offset, offset + size))
                return BitVecVal(int.from_bytes(data, self.platform.byteorder), 8 * size)
            case "stack", offset:
                state.accesses += (("load.stack", offset, size, self.readable),)
                return state.read("stack", offset, size)
            case "argv", index:
                self.require("load.argv", size == self.platform.word, f"{size} bytes of a pointer", state)
                name = f"argv[{index}]"
                self.pointers[name] = index
                return self.word(name)
            case "argument", index, offset:
                # Four bytes can be read from the start of any argument: src/main.rs says why.
                holds = offset is not None and 0 <= offset and offset + size <= 4
                self.require("load.argument", holds, f"{size} bytes at {offset} of an argument", state)
                parts = [self.byte(index, BitVecVal(offset + n, 8)) for n in reversed(state.order(size))]
                return simplify(Concat(*parts)) if size > 1 else parts[0]

    def store(self, state, address, value):
        size = value.size() // 8
        place = self.place(state, address)
        self.require("store", place[0] == "stack", f"{size} bytes are written to {place}", state)
        state.accesses += (("store.stack", place[1], size, self.writable),)
        self.depth = max(self.depth, -place[1])
        state.write("stack", place[1], value)

    def target(self, state, address):
        """The offset that a computed jump goes to."""
        place = self.place(state, address)
        self.require("jump", place[0] == "file", f"a jump to {place}", state)
        return place[1]

    def enters(self, state):
        """A call: the stack pointer is aligned."""
        top = self.top(state)
        holds = (top + self.first_remainder - self.platform.remainder) % self.platform.alignment == 0
        self.require(
            "alignment", holds, f"the stack pointer is {top} from the first where a function is entered", state
        )

    # Following paths

    def run(self):
        """Proves the file, or raises Refused."""
        self.handler = None
        while True:
            try:
                self.start()
                break
            except Restart:
                pass
        self.require("handler", self.handler is not None, "no handler was installed")
        for signal, steps in specification.HANDLER.items():
            self.interrupted(signal, steps)

    def unreached(self):
        """What of the file is neither executed nor read nor written out: pairs of a range and what it is. Anything
        else is refused."""
        reached = self.loaded | {at + n for at, size in self.executed.items() for n in range(size)}
        at, found = self.headers, []
        while at < len(self.file):
            if at in reached:
                at += 1
                continue
            for kind, pattern in self.platform.unreached:
                if match := re.compile(pattern, re.DOTALL).match(self.file, at):
                    # Only as far as nothing is reached.
                    end = next(n for n in range(at, match.end() + 1) if n in reached or n == match.end())
                    found.append((range(at, end), kind))
                    break
            else:
                end = at + 1
                self.require("bytes", False, f"byte {at:#x} is never reached, and nothing explains it")
            at = end
        return found

    def begin(self, pc, step, remainder, arguments, writable):
        platform = self.platform
        self.arguments, self.first_remainder, self.writable, self.readable = arguments, remainder, writable, writable
        self.stack = self.word("stack")
        # The file is mapped at a page, and the stack is aligned: known only where it is asked for, which saves time.
        self.aligned = [simplify(self.base & 0xFFF) == 0, self.stack & (platform.alignment - 1) == remainder]
        self.nodes, self.pending = {}, []
        state = State(self, pc, step)
        for name in platform.registers:
            state.set(name, BitVec(f"initial {name}", 8 * self.lifter.register(name)[1]))
        self.lifter.begin(state)
        state.set(platform.stack, self.stack)
        if platform.own_address:
            state.set(platform.own_address, self.base + pc)
        return state

    def start(self):
        """From _start: argc at the stack pointer, argv behind it."""
        self.steps = specification.PROGRAM
        state = self.begin(self.entry, "arguments", 0, True, self.platform.word)
        state.write("stack", 0, self.count)
        state.conditions.append(ULT(self.count, self.MOST_ARGUMENTS))
        self.pending = [(state, None)] + [(None, loop) for loop in self.loops.values()]
        self.follow_all()

    def interrupted(self, signal, steps):
        """From the handler, with the number of a signal."""
        self.steps = steps
        platform = self.platform
        state = self.begin(self.handler, next(iter(steps)), platform.remainder, False, platform.save_area)
        if platform.signal:
            state.set(platform.signal, self.word(signal))
        else:
            # Above the return address; behind it are pointers that nobody reads.
            self.readable = 2 * platform.word
            state.write("stack", platform.word, self.word(signal))
        self.pending = [(state, None)]
        self.follow_all()

    def follow_all(self):
        while self.pending:
            state, node = self.pending.pop()
            if isinstance(node, Loop):
                state = node.state.copy()
                state.cells = {key: node.expected(key, node.left) for key in state.cells}
                for key in node.forgotten:
                    state.cells[key] = BitVec(f"any {key} in the loop", 8), 0
                state.index = node.left
                state.conditions += [0 <= node.left, node.left <= node.count]
                state.visited = {}
            elif node:
                state = node.state.copy()
            paths = [state]
            while paths:
                paths.extend(self.advance(paths.pop()))

    def advance(self, state):
        """Executes one instruction; gives the states behind it."""
        code = self.file[state.pc :]
        size = len(self.platform.call)
        self.require("text", self.headers <= state.pc < len(self.file), "execution left the text", state)
        if code.startswith(self.platform.call):
            self.executed[state.pc] = size
            return self.system_call(state)
        for trap in self.platform.traps:
            if code.startswith(trap):
                self.executed[state.pc] = len(trap)
                self.paths += 1
                self.require("trap", state.step == "trap", f"a trap where the contract has {state.step}", state)
                return []
        if state.step == "arguments" and (state.pc in self.loops or state.pc in state.visited):
            if state.pc not in self.loops:
                self.loops[state.pc] = Loop(state.visited[state.pc], self.count, self.word("left"))
                raise Restart
            # Its own first instruction, not a return to it.
            if state.visited or state.index is None:
                return self.arrive(state, self.loops[state.pc])
        self.require("loop", state.pc not in state.visited, "a loop without a system call", state)
        state.visited[state.pc] = state.copy() if state.step == "arguments" else None
        before = self.top(state)
        successors, length = self.lifter.step(state)
        self.executed[state.pc] = length
        after = []
        for successor, target in successors:
            for access in successor.accesses:
                self.in_frame(successor, *access, min(before, self.top(successor)))
            successor.temporaries, successor.accesses = {}, ()
            successor.pc = target
            after.append(successor)
        return after

    # The loop over the arguments

    def is_option(self, index):
        return specification.is_option(lambda n: self.byte(index, BitVecVal(n, 8)))

    def arrive(self, state, loop):
        """A path comes to the head of the loop, from the start or once more."""
        self.paths += 1
        count = self.count if state.index is None else simplify(state.index - 1)
        if state.index is not None:
            self.require(
                "arguments.next",
                And(count >= 0, Not(self.is_option(count))),
                "the loop goes on though the argument is an option, or never ends",
                state,
            )
        changed, proved = False, {}

        def agree(key, expected):
            seen = state.cell(key)
            if self.same(seen, expected):
                return True
            pair = seen[0].get_id(), expected[0].get_id(), seen[1] - expected[1]
            if seen[1] == expected[1] and seen[0].size() == expected[0].size() and pair not in proved:
                # Kept as well, so that no other expression gets their numbers.
                proved[pair] = self.holds(state, seen[0] == expected[0]), seen, expected
            return proved.get(pair, (False,))[0]

        for key in set(loop.state.cells) | set(state.cells):
            if key in loop.forgotten or agree(key, loop.expected(key, count)):
                continue
            changed = True
            if key in loop.moving and state.index is not None and self.same(state.cell(key), loop.state.cell(key)):
                loop.moving.remove(key)
            else:
                loop.forgotten.add(key)
        if changed:
            self.pending.append((None, loop))
        return []

    def same(self, one, other):
        """Whether two bytes are the same expression."""
        if one[1] == other[1] and one[0].eq(other[0]):
            return True
        left, right = (simplify(Extract(8 * n + 7, 8 * n, value)) for value, n in (one, other))
        return left.eq(right)

    def decided(self, state):
        """What the program has found out of its arguments when it makes its first call."""
        left = self.count if state.index is None else state.index
        compared = left - 1
        if self.holds(state, And(compared >= 1, compared < self.count, self.is_option(compared))):
            return "version"
        self.require("arguments", left <= 1, "it goes on, and an argument may be an option", state)
        return "getpid"

    # System calls

    def system_call(self, state):
        platform = self.platform
        if state.step == "arguments":
            state.step = self.decided(state)
        step = self.steps.get(state.step)
        self.require("call", step is not None, "a system call after the last", state)
        name = step.call
        if name in ("sleep", "poll") and "ppoll" in platform.numbers:
            name = "ppoll"
        number = platform.numbers["pause" if name == "sleep" else name]
        seen = state.register(platform.number)
        self.require(
            f"{step.call}.number", seen == number, f"{step.call} has the number {number}, and not {seen}", state
        )
        arguments = [state.register(register) for register in platform.arguments]
        kernel = Kernel(self, state, arguments)
        after = getattr(kernel, step.call)(*step.arguments)
        state.trail += (state.step,)
        self.calls.add((state.pc, state.step))
        for kind, (condition, next_step) in enumerate(after):
            self.returned(state, kind, condition, next_step)
        self.paths += 1
        return []

    def returned(self, state, kind, outcome, step):
        """The call returns in one way: joins the node behind it."""
        state = state.copy()
        platform, key = self.platform, (state.pc + len(self.platform.call), state.step, step, kind)
        result = self.word(f"result of {key}")
        state.conditions, state.visited, state.index = [], {}, None
        state.pc, state.step = key[0], step
        state.conditions += outcome(state, result)
        for name in platform.lost:
            state.set(name, BitVec(f"lost {name} {key}", 8 * self.lifter.register(name)[1]))
        if platform.positive_errors:
            state.set(platform.result, If(result < 0, -result, result))
            failed = If(result < 0, BitVecVal(1, 8), BitVecVal(0, 8))
            self.lifter.set_summary_overflow(state, failed, BitVec(f"cr0 with {result}", 8) & 0xE)
        else:
            state.set(platform.result, result)
        node = self.nodes.get(key)
        if node is None:
            self.nodes[key] = node = Node(state)
            self.pending.append((None, node))
            return
        changed = False
        for cell in set(node.state.cells) | set(state.cells):
            if cell not in node.forgotten and not self.same(node.state.cell(cell), state.cell(cell)):
                node.forgotten.add(cell)
                node.state.cells[cell] = BitVec(f"any {cell} {key}", 8), 0
                changed = True
        if changed:
            self.pending.append((None, node))


class Kernel:
    """What the kernel reads and writes at each call, and what it may return. Each method asserts the arguments and
    gives the pairs of what is known afterwards and the next state."""

    def __init__(self, proof, state, arguments):
        self.proof, self.state, self.arguments = proof, state, arguments
        self.step = proof.steps[state.step]
        self.word = proof.platform.word

    def require(self, check, holds, text):
        self.proof.require(check, holds, text, self.state)

    def int(self, check, n, value):
        """An argument that the kernel takes as a C `int`."""
        self.require(
            check, Extract(31, 0, self.arguments[n]) == value, f"argument {n + 1} is {self.arguments[n]}, not {value}"
        )

    def long(self, check, n, value):
        self.require(check, self.arguments[n] == value, f"argument {n + 1} is {self.arguments[n]}, not {value}")

    def stack(self, check, n, size, alignment):
        """An argument that points at the program's own stack: where."""
        place = self.proof.place(self.state, self.arguments[n])
        self.require(check, place[0] == "stack", f"argument {n + 1} points at {place}")
        self.require(
            check, (place[1] + self.proof.first_remainder) % alignment == 0, f"argument {n + 1} is not aligned"
        )
        self.proof.in_frame(self.state, check, place[1], size, 0, self.proof.top(self.state))
        return place[1]

    def field(self, check, offset, size, value):
        seen = self.state.read("stack", offset, size)
        self.require(check, seen == value, f"{size} bytes at {offset} from the first stack pointer are {seen}")

    def results(self, largest):
        """What may be returned, of calls that write nothing."""

        def outcome(condition):
            return lambda state, result: [-4095 <= result, result <= largest, condition(result)]

        return [(outcome(condition), step) for condition, step in self.step.next]

    def getpid(self):
        return self.results(specification.LARGEST["getpid"])

    def exit(self, status):
        self.int("exit.status", 0, status)
        return self.results(specification.LARGEST["exit"])

    def wait4(self):
        self.int("wait4.pid", 0, -1)
        self.long("wait4.status", 1, 0)
        self.int("wait4.options", 2, specification.WNOHANG)
        self.long("wait4.rusage", 3, 0)
        return self.results(specification.LARGEST["wait4"])

    def sleep(self):
        if "ppoll" in self.proof.platform.numbers:
            self.long("sleep.fds", 0, 0)
            self.int("sleep.nfds", 1, 0)
            self.long("sleep.timeout", 2, 0)
            self.long("sleep.sigmask", 3, 0)
        return self.results(specification.LARGEST["sleep"])

    def rt_sigaction(self, signal, kind):
        """The kernel's `struct sigaction`: handler, flags, perhaps a restorer, for handlers that return, and mask."""
        word, platform = self.word, self.proof.platform
        self.int("rt_sigaction.signal", 0, signal)
        at = self.stack("rt_sigaction.act", 1, (3 + platform.restorer) * word if word == 8 else 20, word)
        self.long("rt_sigaction.oldact", 2, 0)
        self.long("rt_sigaction.sigsetsize", 3, 8)
        handler = self.state.read("stack", at, word)
        if kind == "handler":
            place = self.proof.place(self.state, handler)
            self.require(
                "rt_sigaction.handler", place[0] == "file" and place[1] & 1 >= platform.thumb, f"the handler is {place}"
            )
            entry = place[1] & ~platform.thumb
            self.require("rt_sigaction.same", self.proof.handler in (None, entry), "the two signals have two handlers")
            self.proof.handler = entry
        else:
            self.require("rt_sigaction.ignored", handler == specification.SIG_IGN, f"the handler is {handler}")
        self.field("rt_sigaction.flags", at + word, word, platform.handler_flags)
        self.field("rt_sigaction.mask", at + (2 + platform.restorer) * word, 8, -1)
        return self.results(specification.LARGEST["rt_sigaction"])

    def poll(self, fd):
        """poll(2) of one `struct pollfd`; ppoll(2) also reads its time limit, and may write what is left of it."""
        at = self.stack("poll.fds", 0, 8, 4)
        self.field("poll.fd", at, 4, fd)
        self.field("poll.events", at + 4, 2, specification.POLLOUT)
        self.long("poll.nfds", 1, 1)
        limit = None
        if "ppoll" in self.proof.platform.numbers:
            limit = self.stack("poll.timeout", 2, 16, 8)
            self.field("poll.timeout", limit, 8, 0)
            self.field("poll.timeout", limit + 8, 8, 0)
            self.long("poll.sigmask", 3, 0)
        else:
            self.int("poll.timeout", 2, 0)
        steps = dict(self.step.next)
        reported = specification.POLLOUT | specification.POLLERR | specification.POLLHUP | specification.POLLNVAL

        def writes(state, revents):
            state.write("stack", at + 6, revents)
            if limit is not None:
                state.write("stack", limit, BitVec(f"time left {state.pc} {state.step}", 128))

        def writable(state, result):
            writes(state, BitVecVal(specification.POLLOUT, 16))
            return [result == 1]

        def other(state, result):
            revents = BitVec(f"revents {state.pc} {state.step}", 16)
            writes(state, revents)
            return [-4095 <= result, result <= 1, revents & ~reported == 0, revents != specification.POLLOUT]

        def failed(state, result):
            return [-4095 <= result, result < 0]

        return [(writable, steps["writable"]), (other, steps["not writable"]), (failed, steps["not writable"])]

    def write(self, fd, message):
        text = specification.MESSAGES[message].encode()
        self.int("write.fd", 0, fd)
        kind, at = self.proof.place(self.state, self.arguments[1])[:2]
        self.require("write.address", kind == "file", f"what is written lies at {kind} {at}")
        self.require(
            "write.text",
            self.proof.file[at : at + len(text)] == text,
            f"{self.proof.file[at:at + len(text)]} is written",
        )
        self.long("write.length", 2, len(text))
        self.proof.loaded.update(range(at, at + len(text)))
        return self.results(len(text))
