"""What the program may do: README.md's contract as a table of system calls. Nothing here knows an instruction.

Each state has the one system call that is permitted in it, and the states that follow, by what the call returned.
"""

import dataclasses
import pathlib
import tomllib

from z3 import And, Not, Or

ROOT = pathlib.Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]

STDOUT, STDERR = 1, 2
SIGINT, SIGTERM, SIGCHLD = 2, 15, 17
SIG_IGN = 1
EINTR = 4
WNOHANG = 1
POLLOUT, POLLERR, POLLHUP, POLLNVAL = 4, 8, 16, 32

MESSAGES = {
    "version": f"pause {VERSION}\n",
    "warning": "Warning: pause should be the first process\n",
    "interrupt": "Shutting down, got signal: Interrupt\n",
    "terminated": "Shutting down, got signal: Terminated\n",
    "error": "Error: infinite loop terminated\n",
}


def is_option(byte):
    """Whether an argument, whose bytes `byte(0)`, `byte(1)`, … are, is `-v` or `-V` and nothing more."""
    return And(byte(0) == ord("-"), Or(byte(1) == ord("v"), byte(1) == ord("V")), byte(2) == 0)


# What a call returns, as a signed number: an error is -4095 to -1 (the kernel's include/linux/err.h), and a seccomp
# filter may give any, also 0. Beyond that, the largest number that each manual page allows, a write's being its length.
LARGEST = {
    "getpid": 2**31 - 1,
    "rt_sigaction": 0,
    "wait4": 2**31 - 1,
    "sleep": 0,  # pause(2), or ppoll(2) of nothing without a time limit
    "poll": 1,
    "exit": 0,
}


@dataclasses.dataclass(frozen=True)
class Step:
    """A system call, its arguments as far as they are not the same in every state, and what may follow."""

    call: str
    arguments: tuple
    # Pairs of a condition on what the call returned and the state that follows. Exactly one holds for any result.
    next: tuple


def always(state):
    return ((lambda result: result == result, state),)


def either(condition, state, otherwise):
    return ((condition, state), (lambda result: Not(condition(result)), otherwise))


def tell(name, after):
    """The states that write a message to stderr, if poll says that there is room and somebody who reads."""
    return {
        f"poll for {name}": Step("poll", (STDERR,), (("writable", name), ("not writable", after))),
        name: Step("write", (STDERR, name), always(after)),
    }


def disposition(signal, handler, after, status):
    return Step("rt_sigaction", (signal, handler), either(lambda result: result == 0, after, f"exit {status}"))


def leave(status):
    return {f"exit {status}": Step("exit", (status,), always("trap"))}


# The first state is "arguments", which makes no call: it goes on to "version" if an argument is an option, else to
# "getpid". In the last, "trap", only the trapping instruction may follow.
PROGRAM = {
    "version": Step("write", (STDOUT, "version"), always("exit 0")),
    "getpid": Step("getpid", (), either(lambda result: result == 1, "SIGINT", "poll for warning")),
    **tell("warning", "SIGINT"),
    "SIGINT": disposition(SIGINT, "handler", "SIGTERM", 1),
    "SIGTERM": disposition(SIGTERM, "handler", "SIGCHLD", 2),
    "SIGCHLD": disposition(SIGCHLD, "ignored", "wait4", 3),
    "wait4": Step("wait4", (), either(lambda result: result > 0, "wait4", "sleep")),
    "sleep": Step("sleep", (), either(lambda result: result == -EINTR, "sleep", "poll for error")),
    **tell("error", "exit 42"),
    **leave(0),
    **leave(1),
    **leave(2),
    **leave(3),
    **leave(42),
}

HANDLER = {
    SIGINT: {**tell("interrupt", "exit 0"), **leave(0)},
    SIGTERM: {**tell("terminated", "exit 0"), **leave(0)},
}
