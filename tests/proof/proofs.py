"""A proof by each lifter that knows the platform."""

from engine import Proof, Refused
from sleigh import Sleigh
from vex import Vex


def lifters(platform):
    return [lifter for lifter, name in ((Sleigh, platform.sleigh), (Vex, platform.vex)) if name]


def proved(platform, file, weakened=frozenset()):
    """A proof by each lifter that knows the platform; Refused, if one of them fails or they disagree."""
    proofs = [Proof(platform, file, lifter, weakened) for lifter in lifters(platform)]
    for proof in proofs:
        proof.run()
    seen = [(proof.executed, proof.loaded, proof.depth, proof.handler, proof.calls) for proof in proofs]
    if seen.count(seen[0]) != len(seen):
        raise Refused("lifters", "they disagree on what is executed, loaded or called")
    return proofs
