"""Instructions as Ghidra's SLEIGH describes them (pypcode)."""

import pypcode
from z3 import BitVecVal, Extract, If, LShR, SignExt, ULE, ULT, ZeroExt, simplify

from engine import BASES, Refused


def flag(condition):
    return If(condition, BitVecVal(1, 8), BitVecVal(0, 8))


def signed_overflow(a, b, operation):
    return flag(SignExt(1, operation(a, b)) != operation(SignExt(1, a), SignExt(1, b)))


BINARY = {
    "INT_EQUAL": lambda a, b: flag(a == b),
    "INT_NOTEQUAL": lambda a, b: flag(a != b),
    "INT_SLESS": lambda a, b: flag(a < b),
    "INT_SLESSEQUAL": lambda a, b: flag(a <= b),
    "INT_LESS": lambda a, b: flag(ULT(a, b)),
    "INT_LESSEQUAL": lambda a, b: flag(ULE(a, b)),
    "INT_ADD": lambda a, b: a + b,
    "INT_SUB": lambda a, b: a - b,
    "INT_MULT": lambda a, b: a * b,
    "INT_AND": lambda a, b: a & b,
    "INT_OR": lambda a, b: a | b,
    "INT_XOR": lambda a, b: a ^ b,
    "INT_CARRY": lambda a, b: flag(ULT(a + b, a)),
    "INT_SCARRY": lambda a, b: signed_overflow(a, b, lambda x, y: x + y),
    "INT_SBORROW": lambda a, b: signed_overflow(a, b, lambda x, y: x - y),
    "BOOL_AND": lambda a, b: a & b,
    "BOOL_OR": lambda a, b: a | b,
}
# The second operand may have another size, and be larger than there are bits.
SHIFTS = {
    "INT_LEFT": lambda a, b: a << b,
    "INT_RIGHT": LShR,
}
UNARY = {
    "COPY": lambda a: a,
    "INT_2COMP": lambda a: -a,
    "INT_NEGATE": lambda a: ~a,
    "BOOL_NEGATE": lambda a: a ^ 1,
}


class Sleigh:
    def __init__(self, proof):
        self.proof, platform = proof, proof.platform
        self.bases = (proof.fixed,) if proof.fixed else BASES
        self.contexts = [pypcode.Context(platform.sleigh) for _ in self.bases]
        self.registers = {name.lower(): (node.offset, node.size) for name, node in self.contexts[0].registers.items()}
        self.lifted = {}
        zero = [name for name in ("zero", "xzr") if name in self.registers]
        names = (*platform.general, *platform.flags, *zero)
        self.allowed = {offset + n for offset, size in map(self.register, names) for n in range(size)}

    def register(self, name):
        return self.registers[name.lower()]

    def begin(self, state):
        if "zero" in self.registers:
            state.set("zero", BitVecVal(0, 8 * self.register("zero")[1]))

    def set_summary_overflow(self, state, failed, others):
        """The bits of PowerPC's cr0: SO, which says that a call failed, and the others."""
        state.set("cr0", failed | others)

    def lift(self, state):
        """The operations of the instruction at an offset, and its length."""
        offset = state.pc
        if offset not in self.lifted:
            versions = []
            for context, base in zip(self.contexts, self.bases):
                try:
                    versions.append(
                        context.translate(self.proof.file[offset : offset + 16], base + offset, max_instructions=1).ops
                    )
                except (pypcode.BadDataError, pypcode.LowlevelError, pypcode.UnimplError) as error:
                    raise Refused("instruction", f"{error} at {offset:#x}") from error
            length = versions[0][0].inputs[0].size
            self.lifted[offset] = [self.operation(offset, ops) for ops in zip(*versions)][1:], length
        return self.lifted[offset]

    def operation(self, offset, versions):
        opcode = versions[0].opcode.name
        inputs = [self.node(offset, same) for same in zip(*(op.inputs for op in versions))]
        output = versions[0].output and self.node(offset, [op.output for op in versions])
        if opcode in ("LOAD", "STORE"):
            inputs[0] = None
            if versions[0].inputs[0].getSpaceFromConst().name == "const":
                opcode, inputs = "COPY", inputs[1:]  # what a constant is at is itself
        return opcode, output, inputs

    def node(self, offset, versions):
        """A place: ("constant", value, size, moves with the base), or "register", "temporary", "memory" first."""
        first = versions[0]
        space, value, size = first.space.name, first.offset, first.size
        moves = False
        if len(versions) > 1 and space in ("const", "ram") and versions[1].offset != value:
            distance = (versions[1].offset - value) & (2 ** (8 * size) - 1 if space == "const" else 2**64 - 1)
            moves = distance == self.bases[1] - self.bases[0]
        if space == "register":
            if not all(value + n in self.allowed for n in range(size)):
                name = self.contexts[0].getRegisterName(first.space, value, size)
                self.proof.require("register", False, f"{name or hex(value)} is used at {offset:#x}")
        if moves or self.proof.fixed and space == "ram":
            value -= self.bases[0]
        return {"const": "constant", "unique": "temporary", "ram": "memory"}.get(space, space), value, size, moves

    def value(self, state, node):
        space, value, size, moves = node
        if space == "constant":
            return simplify(self.proof.base + value) if moves else BitVecVal(value, 8 * size)
        if space == "memory":
            return self.proof.load(state, simplify(self.proof.base + value), size)
        return state.read(space, value, size)

    def put(self, state, node, value):
        space, offset, _, _ = node
        self.proof.require("store", space != "memory", "a store to the file", state)
        if space == "register" and self.registers.get("zero", (None,))[0] == offset:
            return
        state.write(space, offset, value)

    def step(self, state):
        operations, length = self.lift(state)
        return list(self.execute(state, operations, 0, state.pc + length)), length

    def execute(self, state, operations, index, following):
        proof = self.proof
        while index < len(operations):
            opcode, output, inputs = operations[index]
            index += 1
            if opcode in ("BRANCH", "CBRANCH", "CALL"):
                space, target, _, moves = inputs[0]
                # One within the instruction would be relative to its operations.
                proof.require(
                    "jump", space == "memory" and (moves or bool(proof.fixed)), f"a jump to {target:#x}", state
                )
                outcomes = [(True, state)]
                if opcode == "CBRANCH":
                    outcomes = list(proof.fork(state, self.value(state, inputs[1]) != 0))
                for taken, branch in outcomes:
                    if not taken:
                        yield from self.execute(branch, operations, index, following)
                        continue
                    if opcode == "CALL":
                        proof.enters(branch)
                    yield branch, target
                return
            values = [node and self.value(state, node) for node in inputs]
            if opcode in ("BRANCHIND", "CALLIND", "RETURN"):
                if opcode == "CALLIND":
                    proof.enters(state)
                yield state, proof.target(state, values[0])
                return
            if opcode == "CALLOTHER":
                # Its only effect, on which instructions follow, is in a register too.
                holds = proof.platform.thumb and state.register("ISAModeSwitch") == 1
                proof.require("instruction", holds, "an instruction whose effect is not described", state)
                continue
            if opcode == "LOAD":
                result = proof.load(state, values[1], output[2])
            elif opcode == "STORE":
                proof.store(state, values[1], values[2])
                continue
            elif opcode in UNARY:
                result = UNARY[opcode](values[0])
            elif opcode in BINARY:
                result = BINARY[opcode](*values)
            elif opcode in SHIFTS:
                a, b = values
                bits = max(a.size(), b.size())
                a, b = ZeroExt(bits - a.size(), a), ZeroExt(bits - b.size(), b)
                result = Extract(8 * output[2] - 1, 0, SHIFTS[opcode](a, b))
            elif opcode in ("INT_ZEXT", "INT_SEXT"):
                extend = ZeroExt if opcode == "INT_ZEXT" else SignExt
                result = extend(8 * output[2] - values[0].size(), values[0])
            elif opcode == "SUBPIECE":
                low = 8 * inputs[1][1]
                high = min(low + 8 * output[2], values[0].size())
                result = Extract(high - 1, low, values[0])
            elif opcode == "POPCOUNT":
                size = 8 * output[2]
                result = sum(
                    (ZeroExt(size - 1, Extract(n, n, values[0])) for n in range(values[0].size())), BitVecVal(0, size)
                )
            else:
                raise Refused("instruction", f"{opcode} at {state.pc:#x}")
            self.put(state, output, result)
        yield state, following
