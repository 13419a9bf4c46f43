"""Instructions as Valgrind's VEX describes them (pyvex)."""

import re

import archinfo
import pyvex
from z3 import BitVec, BitVecVal, Extract, If, LShR, SignExt, ULT, ZeroExt, is_bv_value, simplify

from engine import BASES, Refused

# Where VEX keeps conditions: the last operation that set them, and its operands.
CONDITIONS = ("cc_op", "cc_dep1", "cc_dep2", "cc_ndep")
# The same, by their offsets: they have no names there.
S390X_CONDITIONS = (736, 744, 752, 760)
HIDDEN = {
    "ArchAMD64": ("rip",),
    "ArchX86": ("eip",),
    "ArchARMHF": ("itstate", "pc"),
    "ArchAArch64": ("pc",),
    "ArchPPC64": ("ip", "xer_so", "xer_ov", "xer_ca", *(f"cr{n}_{part}" for n in range(8) for part in ("0", "321"))),
    "ArchS390X": ("ia",),
    "ArchRISCV64": ("pc", "zero"),
}


def bit(condition):
    return If(condition, BitVecVal(1, 1), BitVecVal(0, 1))


def is_set(value):
    return value == 1


class Flags:
    """Conditions as an addition, a subtraction, or an operation that only has a result left them."""

    def __init__(self, kind, left, right):
        self.result = {"add": left + right, "sub": left - right, "logic": left}[kind]
        self.zero, self.negative = self.result == 0, self.result < 0
        self.kind, self.left, self.right = kind, left, right

    @property
    def overflow(self):
        if self.kind == "logic":
            return BitVecVal(0, 1) == 1
        a, b = SignExt(1, self.left), SignExt(1, self.right)
        return (a + b if self.kind == "add" else a - b) != SignExt(1, self.result)

    @property
    def below(self):
        """The carry of an addition, the borrow of a subtraction."""
        if self.kind == "logic":
            return BitVecVal(0, 1) == 1
        return ULT(self.result, self.left) if self.kind == "add" else ULT(self.left, self.right)


# The numbers of VEX's operations that occur: for x86 those of one byte, others follow by size.
X86 = {
    "ArchAMD64": ({1: "add", 5: "sub", 17: "logic", 21: "inc", 25: "dec"}, 4),
    "ArchX86": ({1: "add", 4: "sub", 13: "logic", 16: "inc", 19: "dec"}, 3),
}
ARM = {
    "ArchARMHF": {1: ("add", 32), 2: ("sub", 32), 5: ("logic", 32)},
    "ArchAArch64": {
        1: ("add", 32),
        2: ("add", 64),
        3: ("sub", 32),
        4: ("sub", 64),
        9: ("logic", 32),
        10: ("logic", 64),
    },
}

BINARY = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "And": lambda a, b: a & b,
    "Or": lambda a, b: a | b,
    "Xor": lambda a, b: a ^ b,
    "CmpEQ": lambda a, b: bit(a == b),
    "CmpNE": lambda a, b: bit(a != b),
    "CmpLTS": lambda a, b: bit(a < b),
    "CmpLES": lambda a, b: bit(a <= b),
    # PowerPC's: less, greater, equal.
    "CmpORDS": lambda a, b: If(
        a < b, BitVecVal(8, a.size()), If(a > b, BitVecVal(4, a.size()), BitVecVal(2, a.size()))
    ),
    "CmpORDU": lambda a, b: If(
        ULT(a, b), BitVecVal(8, a.size()), If(a == b, BitVecVal(2, a.size()), BitVecVal(4, a.size()))
    ),
    "MullS": lambda a, b: SignExt(a.size(), a) * SignExt(a.size(), b),
}
SHIFTS = {"Shl": lambda a, b: a << b, "Shr": LShR}
UNARY = {"Not": lambda a: ~a}


class Vex:
    def __init__(self, proof):
        self.proof, platform = proof, proof.platform
        self.arch = getattr(archinfo, platform.vex)()
        self.bases = (proof.fixed,) if proof.fixed else BASES
        self.lifted = {}
        hidden = HIDDEN[platform.vex] + tuple(name for name in CONDITIONS if name in self.arch.registers)
        if platform.vex == "ArchS390X":
            hidden += S390X_CONDITIONS
        names = (*platform.general, *hidden)
        self.allowed = {offset + n for offset, size in map(self.register, names) for n in range(size)}

    def register(self, name):
        return (name, 8) if isinstance(name, int) else self.arch.registers[name.lower()]

    def begin(self, state):
        for name in ("itstate", "zero"):
            if name in HIDDEN[self.proof.platform.vex]:
                state.set(name, BitVecVal(0, 8 * self.register(name)[1]))

    def set_summary_overflow(self, state, failed, others):
        """The bits of PowerPC's cr0: SO, which says that a call failed, and the others."""
        state.set("cr0_0", failed)
        state.set("cr0_321", others)

    def lift(self, state):
        if state.pc not in self.lifted:
            thumb = int(self.proof.platform.thumb)
            try:
                blocks = [
                    pyvex.lift(
                        self.proof.file + bytes(8),
                        base + state.pc + thumb,
                        self.arch,
                        max_inst=1,
                        opt_level=0,
                        bytes_offset=state.pc + thumb,
                        max_bytes=len(self.proof.file) - state.pc + 8,
                    )
                    for base in self.bases
                ]
            except pyvex.PyVEXError as error:
                raise Refused("instruction", f"{error} at {state.pc:#x}") from error
            if blocks[0].jumpkind in ("Ijk_NoDecode", "Ijk_SigILL") or not blocks[0].size:
                raise Refused("instruction", f"not known at {state.pc:#x}")
            self.lifted[state.pc] = blocks
        return self.lifted[state.pc]

    def step(self, state):
        blocks = self.lift(state)
        return list(self.execute(state, blocks, 0, {})), blocks[0].size

    def execute(self, state, blocks, index, temporaries):
        proof, types = self.proof, blocks[0].tyenv
        for index in range(index, len(blocks[0].statements)):
            versions = [block.statements[index] for block in blocks]
            statement, kind = versions[0], versions[0].tag

            def value(name):
                return self.value(state, temporaries, types, [getattr(version, name) for version in versions])

            if kind in ("Ist_IMark", "Ist_AbiHint", "Ist_NoOp"):
                continue
            if kind == "Ist_WrTmp":
                temporaries[statement.tmp] = value("data")
            elif kind == "Ist_Put":
                self.put(state, statement.offset, value("data"))
            elif kind == "Ist_Store":
                proof.store(state, value("addr"), value("data"))
            elif kind in ("Ist_Exit", "Ist_StoreG", "Ist_LoadG"):
                for taken, branch in proof.fork(state, is_set(value("guard"))):
                    known = dict(temporaries)
                    if taken and kind == "Ist_Exit":
                        yield branch, self.offset(branch, [version.dst for version in versions])
                        continue
                    if kind == "Ist_LoadG":
                        self.guarded_load(branch, versions, known, types, taken)
                    elif taken and kind == "Ist_StoreG":
                        proof.store(branch, value("addr"), value("data"))
                    yield from self.execute(branch, blocks, index + 1, known)
                return
            else:
                raise Refused("instruction", f"{statement} at {state.pc:#x}")
        if blocks[0].jumpkind == "Ijk_Call":
            proof.enters(state)
        elif blocks[0].jumpkind not in ("Ijk_Boring", "Ijk_Ret"):
            raise Refused("instruction", f"{blocks[0].jumpkind} at {state.pc:#x}")
        following = self.value(state, temporaries, types, [block.next for block in blocks])
        yield state, self.to_text(state, proof.target(state, following))

    def guarded_load(self, state, versions, temporaries, types, taken):
        first = versions[0]
        if not taken:
            temporaries[first.dst] = self.value(state, temporaries, types, [version.alt for version in versions])
            return
        size, extend = {"ILGop_Ident32": (4, ZeroExt), "ILGop_8Uto32": (1, ZeroExt), "ILGop_16Uto32": (2, ZeroExt)}[
            first.cvt
        ]
        address = self.value(state, temporaries, types, [version.addr for version in versions])
        loaded = self.proof.load(state, address, size)
        temporaries[first.dst] = extend(32 - loaded.size(), loaded)

    def put(self, state, offset, value):
        size = max(value.size() // 8, 1)
        if not all(offset + n in self.allowed for n in range(size)):
            self.proof.require(
                "register", False, f"{self.arch.translate_register_name(offset, size)} is used at {state.pc:#x}"
            )
        state.write("register", offset, ZeroExt(8 - value.size(), value) if value.size() < 8 else value)

    def to_text(self, state, offset):
        if self.proof.platform.thumb:
            self.proof.require("jump", offset & 1 == 1, "a jump out of Thumb", state)
            return offset & ~1
        return offset

    def offset(self, state, versions):
        """What a constant is in the file."""
        return self.to_text(state, self.proof.target(state, self.constant(versions)))

    def constant(self, versions):
        first = versions[0].value
        bits = versions[0].size
        if len(versions) > 1 and versions[1].value != first:
            distance = (versions[1].value - first) % 2**bits
            if distance != self.bases[1] - self.bases[0]:
                raise Refused("address", f"{versions[0]} moves in another way than the file")
            value = BitVecVal(first - self.bases[0], self.proof.bits) + self.proof.base
            return simplify(Extract(bits - 1, 0, value))
        return BitVecVal(first, bits)

    def value(self, state, temporaries, types, versions):
        """An expression, which is the same in each version but for constants."""
        first, kind = versions[0], versions[0].tag

        def part(get):
            return self.value(state, temporaries, types, [get(version) for version in versions])

        if kind == "Iex_Const":
            return self.constant([version.con for version in versions])
        if kind == "Iex_RdTmp":
            return temporaries[first.tmp]
        if kind == "Iex_Get":
            size = first.result_size(types)
            if not all(first.offset + n in self.allowed for n in range(max(size // 8, 1))):
                name = self.arch.translate_register_name(first.offset, size // 8)
                self.proof.require("register", False, f"{name} is used at {state.pc:#x}")
            return state.read("register", first.offset, size // 8)
        if kind == "Iex_Load":
            return self.proof.load(state, part(lambda it: it.addr), first.result_size(types) // 8)
        if kind == "Iex_ITE":
            return simplify(
                If(is_set(part(lambda it: it.cond)), part(lambda it: it.iftrue), part(lambda it: it.iffalse))
            )
        if kind in ("Iex_Unop", "Iex_Binop", "Iex_CCall"):
            arguments = [part(lambda it, n=n: it.args[n]) for n in range(len(first.args))]
            name = first.cee.name if kind == "Iex_CCall" else first.op
            result = (
                self.call(state, name, arguments) if kind == "Iex_CCall" else self.operation(state, name, arguments)
            )
            return simplify(result)
        raise Refused("instruction", f"{first} at {state.pc:#x}")

    def operation(self, state, name, arguments):
        if match := re.fullmatch(r"Iop_(\d+)(U|S|HI|)to(\d+)", name):
            bits, how, to = int(match[1]), match[2], int(match[3])
            if to > bits:
                return (SignExt if how == "S" else ZeroExt)(to - bits, arguments[0])
            return Extract(bits - 1, bits - to, arguments[0]) if how == "HI" else Extract(to - 1, 0, arguments[0])
        match = re.fullmatch(r"Iop_(?:Cas|Exp)?([A-Za-z]+?)(\d+)([SU]?)", name)
        operation = match and match[1] + match[3]
        if operation in UNARY:
            return UNARY[operation](*arguments)
        if operation in BINARY:
            return BINARY[operation](*arguments)
        if operation in SHIFTS:
            a, b = arguments
            return SHIFTS[operation](a, ZeroExt(a.size() - b.size(), b))
        raise Refused("instruction", f"{name} at {state.pc:#x}")

    # VEX leaves conditions to functions of its own, which it calls.

    def call(self, state, name, arguments):
        arch = self.proof.platform.vex
        number = simplify(arguments[1 if "x86g" in name or "amd64g" in name or "s390" in name else 0])
        first = simplify(arguments[0])
        if name.endswith("calculate_condition") and arch in X86 and is_bv_value(number) and is_bv_value(first):
            return self.x86(state, first.as_long(), number.as_long(), arguments[2:])
        if name.endswith("calculate_condition") and arch in ARM and is_bv_value(number):
            return self.arm(state, number.as_long(), arguments[1:])
        if re.fullmatch(r"(amd64g_calculate_rflags|x86g_calculate_eflags)_c|armg_calculate_flag_[cv]", name):
            # Kept for an instruction that reads the carry; one that does would be refused.
            return BitVec(f"carry at {state.pc}", self.proof.bits)
        if name == "s390_calculate_cond" and is_bv_value(number) and is_bv_value(first):
            return self.s390x(state, first.as_long(), number.as_long(), arguments[2:])
        raise Refused("instruction", f"{name} at {state.pc:#x}")

    def x86(self, state, condition, operation, arguments):
        kinds, sizes = X86[self.proof.platform.vex]
        start = max((first for first in kinds if first <= operation), default=None)
        if start is None or operation - start >= sizes:
            raise Refused("instruction", f"flags of operation {operation} at {state.pc:#x}")
        bits, kind = 8 << (operation - start), kinds[start]
        left, right = (Extract(bits - 1, 0, argument) for argument in arguments[:2])
        flags = Flags("logic" if kind in ("inc", "dec") else kind, left, right)
        if kind in ("inc", "dec") and condition >> 1 not in (2, 4):
            raise Refused("instruction", f"flags of operation {operation} at {state.pc:#x}")
        overflow, below, zero, negative = bit(flags.overflow), bit(flags.below), bit(flags.zero), bit(flags.negative)
        value = {
            0: overflow,
            1: below,
            2: zero,
            3: below | zero,
            4: negative,
            6: negative ^ overflow,
            7: (negative ^ overflow) | zero,
        }.get(condition >> 1)
        if value is None:
            raise Refused("instruction", f"condition {condition} at {state.pc:#x}")
        return ZeroExt(self.proof.bits - 1, value ^ (condition & 1))

    def arm(self, state, number, arguments):
        condition, operation = number >> 4, number & 15
        kind, bits = ARM[self.proof.platform.vex].get(operation, (None, 0))
        if kind is None and condition != 14:
            raise Refused("instruction", f"flags of operation {operation} at {state.pc:#x}")
        if condition == 14:
            return BitVecVal(1, self.proof.bits)
        flags = Flags(kind, *(Extract(bits - 1, 0, argument) for argument in arguments[:2]))
        zero, negative, overflow = bit(flags.zero), bit(flags.negative), bit(flags.overflow)
        carry = bit(flags.below) if kind == "add" else ~bit(flags.below)
        value = {
            0: zero,
            1: carry,
            2: negative,
            3: overflow,
            4: carry & ~zero,
            5: ~(negative ^ overflow),
            6: ~zero & ~(negative ^ overflow),
        }[condition >> 1]
        if kind == "logic" and condition >> 1 not in (0, 2):
            raise Refused("instruction", f"condition {condition} of operation {operation} at {state.pc:#x}")
        return ZeroExt(self.proof.bits - 1, value ^ (condition & 1))

    def s390x(self, state, mask, operation, arguments):
        left, right = arguments[:2]
        code = {
            0: lambda: If(left == 0, 0, 1),  # bitwise
            1: lambda: If(left == right, 0, If(left < right, 1, 2)),  # signed comparison
            2: lambda: If(left == right, 0, If(ULT(left, right), 1, 2)),  # unsigned comparison
            4: lambda: self.sum(left, right),  # signed addition of 64 bits
        }.get(operation)
        if code is None:
            raise Refused("instruction", f"condition code of operation {operation} at {state.pc:#x}")
        bits = [BitVecVal(mask >> (3 - n) & 1, 32) for n in range(4)]
        code = code()
        return If(code == 0, bits[0], If(code == 1, bits[1], If(code == 2, bits[2], bits[3])))

    def sum(self, left, right):
        flags = Flags("add", left, right)
        return If(flags.overflow, 3, If(flags.zero, 0, If(flags.negative, 1, 2)))

    # The condition code of s390x as a number, to compare with a processor.

    def set_condition(self, state, code):
        operation, left, right = ((0, 0, 0), (0, 1, 0), (1, 1, 0), (4, 2**63 - 1, 1))[code]
        for offset, value in zip(S390X_CONDITIONS, (operation, left, right, 0)):
            state.write("register", offset, BitVecVal(value, 64))

    def condition(self, state):
        operation, left, right = (state.read("register", offset, 8) for offset in S390X_CONDITIONS[:3])
        return next(
            n for n in range(4) if simplify(self.s390x(state, 8 >> n, operation.as_long(), (left, right))).as_long()
        )
