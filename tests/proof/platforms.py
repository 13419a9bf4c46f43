"""What the processors, their ABIs and the kernel's tables say: one row for each platform the image is built for."""

import dataclasses
import re

# asm-generic/unistd.h of the kernel's uapi, which newer architectures share: neither pause(2) nor poll(2).
GENERIC = dict(getpid=172, rt_sigaction=134, wait4=260, ppoll=73, write=64, exit=93)
# What the older 32-bit ones and s390x share: arch/x86/entry/syscalls/syscall_32.tbl and its neighbours.
OLD = dict(getpid=20, rt_sigaction=174, wait4=114, pause=29, poll=168, write=4, exit=1)


@dataclasses.dataclass(frozen=True)
class Platform:
    machine: int  # e_machine of elf(5)
    sleigh: str | None  # the language of Ghidra's SLEIGH
    vex: str | None  # the class of archinfo
    word: int  # bytes of a pointer
    numbers: dict
    # The instruction that makes a system call, its immediate included, and those that end a process.
    call: bytes
    traps: tuple
    # syscall(2): the number's register, the arguments', the result's, and those whose content the kernel may change.
    number: str
    arguments: tuple
    result: str
    stack: str  # the stack pointer
    # Others that a program of the ABI may use; `flags` are the names the lifter has for condition codes and the like.
    registers: tuple
    flags: tuple = ()
    lost: tuple = ()
    little: bool = True
    # What SA_RESTORER adds to the flags; whether `struct sigaction` has a restorer at all.
    handler_flags: int = 0
    restorer: bool = True
    # The stack pointer's alignment, and what it leaves as a remainder where a function is entered.
    alignment: int = 16
    remainder: int = 0
    # How far below the stack pointer a function may write, and how far above one that it was entered with: areas that
    # the caller provides.
    red_zone: int = 0
    save_area: int = 0
    # The register that has the address of a function on its entry, as the kernel sets it for _start and for a handler.
    own_address: str | None = None
    signal: str | None = None  # the register of a handler's first argument; None: the stack
    thumb: bool = False
    positive_errors: bool = False  # whether a flag says that a result is an error, which is positive then
    # What the compiler and the linker put where nothing comes: a trap behind one of ours, for what never returns;
    # zeros that align what follows. Regular expressions.
    compiler_trap: bytes = b""
    global_entry: bytes = b"(?!)"  # of a function that is only called by its local one
    # An instruction without effect, of each length.
    nops: tuple = ()

    @property
    def byteorder(self):
        return "little" if self.little else "big"

    @property
    def general(self):
        """The registers that a program may use, but for the lifter's own."""
        return (self.stack, *self.registers, *filter(None, [self.own_address]))

    @property
    def unreached(self):
        return (
            ("a trap of the compiler's", re.escape(self.compiler_trap)),
            ("padding", b"\0+"),
            ("a global entry", self.global_entry),
        )


def numbered(prefix, *ranges):
    return tuple(f"{prefix}{n}" for start, stop in ranges for n in range(start, stop))


PLATFORMS = {
    "linux/amd64": Platform(
        machine=62,
        sleigh="x86:LE:64:default",
        vex="ArchAMD64",
        word=8,
        numbers=dict(getpid=39, rt_sigaction=13, wait4=61, pause=34, poll=7, write=1, exit=60),
        call=b"\x0f\x05",
        traps=(b"\xf4",),  # syscall; hlt
        compiler_trap=b"\x0f\x0b",
        nops=(b"\x90",),  # ud2; nop
        number="rax",
        arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
        result="rax",
        stack="rsp",
        signal="rdi",
        registers=("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp") + numbered("r", (8, 16)),
        flags=("CF", "PF", "AF", "ZF", "SF", "OF", "RIP"),
        lost=("rcx", "r11"),
        handler_flags=0x0400_0000,
        remainder=8,
        red_zone=128,
    ),
    "linux/386": Platform(
        machine=3,
        sleigh="x86:LE:32:default",
        vex="ArchX86",
        word=4,
        numbers=OLD,
        call=b"\xcd\x80",
        traps=(b"\xf4",),  # int 0x80; hlt
        compiler_trap=b"\x0f\x0b",
        nops=(b"\x90",),  # ud2; nop
        number="eax",
        arguments=("ebx", "ecx", "edx", "esi", "edi", "ebp"),
        result="eax",
        stack="esp",
        registers=("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp"),
        flags=("CF", "PF", "AF", "ZF", "SF", "OF", "EIP"),
        remainder=12,
    ),
    "linux/arm/v7": Platform(
        machine=40,
        sleigh="ARM:LE:32:v8T",
        vex="ArchARMHF",
        word=4,
        numbers=OLD,
        call=b"\x00\xdf",
        traps=(b"\x00\xde",),  # svc 0; udf 0
        compiler_trap=b"\xfe\xde",
        nops=(b"\x00\xbf",),  # udf 254; nop
        number="r7",
        arguments=numbered("r", (0, 6)),
        result="r0",
        stack="sp",
        signal="r0",
        registers=numbered("r", (0, 13)) + ("lr",),
        flags=(
            "NG",
            "ZR",
            "CY",
            "OV",
            "tmpNG",
            "tmpZR",
            "tmpCY",
            "tmpOV",
            "ISAModeSwitch",
            "TB",
            "shift_carry",
            "mult_addr",
            "pc",
        ),
        alignment=8,
        thumb=True,
    ),
    "linux/arm64": Platform(
        machine=183,
        sleigh="AARCH64:LE:64:v8A",
        vex="ArchAArch64",
        word=8,
        numbers=GENERIC,
        call=b"\x01\x00\x00\xd4",
        traps=(b"\x00\x00\x00\x00",),  # svc 0; udf 0
        compiler_trap=b"\x20\x00\x20\xd4",
        nops=(b"\x1f\x20\x03\xd5",),  # brk 1; nop
        number="x8",
        arguments=numbered("x", (0, 6)),
        result="x0",
        stack="sp",
        signal="x0",
        registers=numbered("x", (0, 18), (19, 31)),
        flags=("NG", "ZR", "CY", "OV", "tmpNG", "tmpZR", "tmpCY", "tmpOV", "pc"),
        red_zone=128,
    ),
    "linux/ppc64le": Platform(
        machine=21,
        sleigh="PowerPC:LE:64:default",
        vex="ArchPPC64",
        word=8,
        numbers=OLD | dict(rt_sigaction=173, poll=167),
        call=b"\x02\x00\x00\x44",
        traps=(b"\x08\x00\xe0\x7f",),  # sc; trap
        compiler_trap=b"\x08\x00\xe0\x7f",
        nops=(b"\x00\x00\x00\x60",),  # trap; nop
        global_entry=rb"..\x4c\x3c..\x42\x38",  # addis r2, r12, …; addi r2, r2, …
        number="r0",
        arguments=numbered("r", (3, 9)),
        result="r3",
        stack="r1",
        signal="r3",
        registers=numbered("r", (0, 1), (2, 13), (14, 32)) + ("LR", "CTR"),
        flags=numbered("cr", (0, 8)) + ("xer_so", "xer_ov", "xer_ca", "r2Save"),
        lost=("r0",) + numbered("r", (4, 13)) + ("CTR", "xer_so", "xer_ov", "xer_ca"),
        red_zone=288,
        save_area=32,
        own_address="r12",
        positive_errors=True,
    ),
    "linux/s390x": Platform(
        machine=22,
        sleigh=None,
        vex="ArchS390X",
        word=8,
        numbers=OLD,
        little=False,
        call=b"\x0a\x00",
        traps=(b"\x00\x00",),  # svc 0; an operation code that never is one
        compiler_trap=b"\xa7\xf4\x00\x01",
        nops=(b"\x07\x00", b"\x47\x00\x00\x00"),  # j .+2; nopr; nop
        number="r1",
        arguments=numbered("r", (2, 8)),
        result="r2",
        stack="r15",
        signal="r2",
        registers=numbered("r", (0, 15)),
        flags=("cc_op", "cc_dep1", "cc_dep2", "cc_ndep"),
        alignment=8,
        save_area=160,
    ),
    "linux/riscv64": Platform(
        machine=243,
        sleigh="RISCV:LE:64:RV64GC",
        vex="ArchRISCV64",
        word=8,
        numbers=GENERIC,
        restorer=False,
        call=b"\x73\x00\x00\x00",
        traps=(b"\x00\x00",),  # ecall; unimp
        compiler_trap=b"\x00\x00",
        nops=(b"\x01\x00", b"\x13\x00\x00\x00"),  # unimp; c.nop; nop
        number="a7",
        arguments=numbered("a", (0, 6)),
        result="a0",
        stack="sp",
        signal="a0",
        registers=numbered("a", (0, 8)) + numbered("t", (0, 7)) + numbered("s", (0, 12)) + ("ra",),
    ),
    "linux/loong64": Platform(
        machine=258,
        sleigh="Loongarch:LE:64:lp64d",
        vex=None,
        word=8,
        numbers=GENERIC,
        restorer=False,
        call=b"\x00\x00\x2b\x00",
        traps=(b"\x00\x00\x2a\x00",),  # syscall 0; break 0
        compiler_trap=b"\x00\x04\x60\x38",
        nops=(b"\x00\x00\x40\x03",),  # amswap.w; nop
        number="a7",
        arguments=numbered("a", (0, 6)),
        result="a0",
        stack="sp",
        signal="a0",
        registers=numbered("a", (0, 8)) + numbered("t", (0, 9)) + numbered("s", (0, 9)) + ("fp", "ra"),
        lost=numbered("t", (0, 9)),
    ),
}
