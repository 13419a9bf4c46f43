//! Which system calls an instruction can make: the register that has the number is followed backwards.

use super::Code;
use super::decoder::{Flow, Instruction, integer};
use std::collections::BTreeSet;

/// How system calls are made (src/arch says where this is from).
struct Convention {
    number: &'static str,
    /// The registers that do not keep their values.
    lost: &'static [&'static str],
}

fn convention(platform: &str) -> Convention {
    let (number, lost): (_, &[_]) = match platform {
        "linux/amd64" => ("rax", &["rax", "rcx", "r11"]),
        "linux/386" => ("eax", &["eax"]),
        "linux/arm64" => ("x8", &["x0"]),
        "linux/arm/v7" => ("r7", &["r0"]),
        "linux/ppc64le" => ("r0", &["r0", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12"]),
        "linux/s390x" => ("%r1", &["%r2"]),
        "linux/riscv64" => ("a7", &["a0"]),
        "linux/loong64" => ("$a7", &["$r4", "$r12", "$r13", "$r14", "$r15", "$r16", "$r17", "$r18", "$r19", "$r20"]),
        other => panic!("no convention is known for {other}"),
    };
    Convention { number, lost }
}

/// What an instruction does to the value of a register.
enum Effect {
    None,
    Sets(i64),
    Adds(i64),
    Copies(String),
    Unknown,
}

/// The word on the top of the stack, which x86 pushes and pops: there as good as a register.
const TOP: &str = "the top of the stack";

const SET: [&str; 8] = ["mov", "movs", "movw", "mov.w", "movz", "li", "lghi", "c.li"];
const SET_FROM_ZERO: [&str; 4] = ["addi", "addi.w", "addi.d", "ori"];
const COPY: [&str; 6] = ["mov", "movs", "mr", "lgr", "mv", "c.mv"];

impl Code {
    /// The numbers a system-call instruction can carry, whatever way control comes to it. Panics if it can be one that
    /// the instructions do not name.
    pub fn numbers(&self, site: u64) -> BTreeSet<u64> {
        let convention = convention(&self.platform);
        let (mut numbers, mut seen) = (BTreeSet::new(), BTreeSet::new());
        // Places to look at the effects of, the register that counts there, and what has been added to it since.
        let mut ahead = vec![(site, convention.number.to_owned(), 0)];
        while let Some((after, register, added)) = ahead.pop() {
            for before in self.before(after) {
                if !seen.insert((before, register.clone(), added)) {
                    continue;
                }
                let next = match self.effect(&convention, &self.instructions[&before], &register) {
                    Effect::None => (register.clone(), added),
                    Effect::Adds(value) => (register.clone(), added + value),
                    Effect::Copies(other) => (other, added),
                    Effect::Sets(value) => {
                        numbers.insert((value + added) as u64);
                        continue;
                    }
                    Effect::Unknown => panic!(
                        "which system call is made at {site:#x} of {} cannot be told from {register} after{}",
                        self.platform,
                        self.listing([before])
                    ),
                };
                ahead.push((before, next.0, next.1));
            }
        }
        numbers
    }

    fn effect(&self, convention: &Convention, instruction: &Instruction, register: &str) -> Effect {
        let (mnemonic, operands) = (instruction.mnemonic(), instruction.operands());
        let is = |operand: &str| self.whole(operand) == self.whole(register);
        let writes = |register: &str| instruction.writes.iter().any(|other| self.whole(other) == self.whole(register));
        if matches!(instruction.flow, Flow::Call(_)) {
            return Effect::Unknown;
        }
        if register == TOP {
            return match operands[..] {
                [operand] if mnemonic == "push" => {
                    integer(operand).map_or_else(|| Effect::Copies(operand.into()), Effect::Sets)
                }
                _ if writes("rsp") || instruction.text.contains('[') || instruction.is_system_call => Effect::Unknown,
                _ => Effect::None,
            };
        }
        if instruction.is_system_call {
            return if convention.lost.iter().any(|lost| is(lost)) { Effect::Unknown } else { Effect::None };
        }
        let value = |operand| integer(operand).map_or(Effect::Unknown, Effect::Sets);
        match operands[..] {
            // Of a part of the register, x86 keeps the rest.
            [first, ..] if is(first) && self.is_part(first) => Effect::Unknown,
            [first] if is(first) && mnemonic == "pop" => Effect::Copies(TOP.into()),
            [first] if is(first) && mnemonic == "inc" => Effect::Adds(1),
            [first] if is(first) && mnemonic == "dec" => Effect::Adds(-1),
            [first, second] if is(first) && first == second && mnemonic == "xor" => Effect::Sets(0),
            [first, number] if is(first) && SET.contains(&mnemonic) && integer(number).is_some() => value(number),
            [first, "zero" | "$zero", number] if is(first) && SET_FROM_ZERO.contains(&mnemonic) => value(number),
            [first, other] if is(first) && COPY.contains(&mnemonic) && !other.contains('[') => {
                Effect::Copies(other.into())
            }
            // Where Capstone does not tell what is written it is the first operand, or several from the first on.
            [first, ..] if is(first) || mnemonic.starts_with("lm") => Effect::Unknown,
            _ if writes(register) => Effect::Unknown,
            _ => Effect::None,
        }
    }

    /// One name for a register and its parts.
    fn whole<'a>(&self, name: &'a str) -> &'a str {
        match &*self.platform {
            // rax, eax, ax, al, ah; rsi, esi, si, sil; r8, r8d, r8w, r8b.
            "linux/amd64" | "linux/386" => {
                let name = name.strip_prefix(['r', 'e']).unwrap_or(name);
                name.strip_suffix(['x', 'l', 'h', 'd', 'w', 'b']).unwrap_or(name)
            }
            "linux/arm64" => name.strip_prefix(['x', 'w']).unwrap_or(name),
            _ => name,
        }
    }

    /// Whether writing this part of a register leaves the rest as it was.
    fn is_part(&self, name: &str) -> bool {
        let is_x86 = ["linux/amd64", "linux/386"].contains(&&*self.platform);
        is_x86 && (!name.starts_with(['r', 'e']) || name.ends_with(['w', 'b']))
    }

    /// The instructions after which this one may be executed.
    fn before(&self, place: u64) -> Vec<u64> {
        let leads_here = |(from, instruction): &(&u64, &Instruction)| {
            let falls_through = instruction.flow.falls_through() && **from + instruction.length == place;
            falls_through || matches!(instruction.flow, Flow::Branch(to) | Flow::Jump(to) if to == place)
        };
        let before: Vec<_> = self.instructions.iter().filter(leads_here).map(|(from, _)| *from).collect();
        let platform = &self.platform;
        assert!(!before.is_empty(), "a function of {platform} starts at {place:#x}, without a system call's number");
        before
    }
}

/// The name of a system call.
pub fn name(platform: &str, number: u64) -> String {
    macro_rules! name {
        ($architecture:ident) => {
            syscalls::$architecture::Sysno::new(number as usize).map(|call| call.name())
        };
    }
    let name = match platform {
        "linux/amd64" => name!(x86_64),
        "linux/386" => name!(x86),
        "linux/arm64" => name!(aarch64),
        "linux/arm/v7" => name!(arm),
        "linux/ppc64le" => name!(powerpc64),
        "linux/s390x" => name!(s390x),
        "linux/riscv64" => name!(riscv64),
        "linux/loong64" => name!(loongarch64),
        other => panic!("no system calls are known for {other}"),
    };
    name.unwrap_or_else(|| panic!("{platform} has no system call {number}")).into()
}
