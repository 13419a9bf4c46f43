//! Machine code into instructions: how long each is, where control goes from it, what it loads and which registers it
//! writes.

use capstone::prelude::*;
use capstone::{Endian, InsnGroupType};

pub struct Instruction {
    pub length: u64,
    /// As Capstone writes it: mnemonic and operands.
    pub text: String,
    pub flow: Flow,
    pub is_system_call: bool,
    /// The constant it loads from among the instructions.
    pub loads: Option<u64>,
    /// The registers it writes, as far as Capstone tells: all on x86 and arm, elsewhere those its text does not name.
    pub writes: Vec<String>,
}

/// Where control goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// There, and back to the next instruction.
    Call(u64),
    /// There or to the next instruction.
    Branch(u64),
    Jump(u64),
    /// Where only the processor knows: to a caller.
    Away,
}

impl Flow {
    pub fn falls_through(self) -> bool {
        !matches!(self, Flow::Jump(_) | Flow::Away)
    }
}

impl Instruction {
    pub fn mnemonic(&self) -> &str {
        self.text.split_once(' ').map_or(&self.text, |(mnemonic, _)| mnemonic)
    }

    pub fn operands(&self) -> Vec<&str> {
        self.text.split_once(' ').map_or(vec![], |(_, operands)| operands.split(", ").collect())
    }
}

/// How an architecture writes in its assembly language what Capstone does not mark alike on all of them.
struct Language {
    system_calls: &'static [&'static str],
    calls: &'static [&'static str],
    /// Unconditional jumps.
    jumps: &'static [&'static str],
}

fn language(platform: &str) -> Language {
    let (system_calls, calls, jumps): (&[_], &[_], &[_]) = match platform {
        "linux/amd64" => (&["syscall", "sysenter", "int"], &["call"], &["jmp"]),
        "linux/386" => (&["int", "sysenter", "syscall"], &["call"], &["jmp"]),
        "linux/arm64" => (&["svc"], &["bl", "blr"], &["b"]),
        "linux/arm/v7" => (&["svc"], &["bl", "blx", "blne", "bleq"], &["b", "b.w"]),
        "linux/ppc64le" => (&["sc"], &["bl"], &["b"]),
        "linux/s390x" => (&["svc"], &["brasl", "bras"], &["j"]),
        "linux/riscv64" => (&["ecall"], &["jal", "jalr", "c.jalr"], &["c.j", "j"]),
        "linux/loong64" => (&["syscall"], &["bl"], &["b"]),
        other => panic!("no assembly language is known for {other}"),
    };
    Language { system_calls, calls, jumps }
}

pub struct Decoder {
    platform: String,
    language: Language,
    is_thumb: bool,
    /// None for loong64, which Capstone 5 does not know.
    capstone: Option<Capstone>,
}

impl Decoder {
    /// For the code behind this entry point: that of arm is odd if the code is Thumb's.
    pub fn of(platform: &str, entry: u64) -> Self {
        use capstone::arch::{arm, arm64, ppc, riscv, sysz, x86};
        let is_thumb = platform == "linux/arm/v7" && entry % 2 == 1;
        let builder = Capstone::new();
        let capstone = match platform {
            "linux/amd64" => builder.x86().mode(x86::ArchMode::Mode64).detail(true).build(),
            "linux/386" => builder.x86().mode(x86::ArchMode::Mode32).detail(true).build(),
            "linux/arm64" => builder.arm64().mode(arm64::ArchMode::Arm).detail(true).build(),
            "linux/arm/v7" if is_thumb => builder.arm().mode(arm::ArchMode::Thumb).detail(true).build(),
            "linux/arm/v7" => builder.arm().mode(arm::ArchMode::Arm).detail(true).build(),
            "linux/ppc64le" => builder.ppc().mode(ppc::ArchMode::Mode64).endian(Endian::Little).detail(true).build(),
            "linux/s390x" => builder.sysz().mode(sysz::ArchMode::Default).detail(true).build(),
            "linux/riscv64" => {
                let compressed = [riscv::ArchExtraMode::RiscVC];
                builder.riscv().mode(riscv::ArchMode::RiscV64).extra_mode(compressed.into_iter()).detail(true).build()
            }
            _ => Err(capstone::Error::UnsupportedArch),
        };
        Self { platform: platform.into(), language: language(platform), is_thumb, capstone: capstone.ok() }
    }

    /// The instructions from the beginning of these bytes, which lie at this place in the file, up to something that is
    /// none.
    pub fn decode(&self, bytes: &[u8], place: u64) -> Vec<Instruction> {
        let mut decoded: Vec<Instruction> = Vec::new();
        let Some(capstone) = &self.capstone else {
            let (words, _) = bytes.as_chunks();
            for (word, place) in words.iter().zip((place..).step_by(4)) {
                let (text, is_jump) = loong64(u32::from_le_bytes(*word), place);
                decoded.push(self.instruction(decoded.last(), place, 4, text, is_jump, vec![]));
            }
            return decoded;
        };
        for found in capstone.disasm_all(bytes, place).expect("a working decoder").iter() {
            let text = [found.mnemonic().expect("decoded"), found.op_str().unwrap_or_default()].join(" ");
            let detail = capstone.insn_detail(found).expect("asked for");
            let jump = InsnGroupType::CS_GRP_JUMP as u8;
            let is_jump = detail.groups().iter().any(|group| group.0 == jump) || text.starts_with("ret");
            let writes = detail.regs_write().iter().filter_map(|register| capstone.reg_name(*register)).collect();
            let (place, length) = (found.address(), found.len() as u64);
            decoded.push(self.instruction(decoded.last(), place, length, text.trim().into(), is_jump, writes));
        }
        decoded
    }

    fn instruction(
        &self,
        behind: Option<&Instruction>,
        place: u64,
        length: u64,
        text: String,
        is_jump: bool,
        writes: Vec<String>,
    ) -> Instruction {
        let mut instruction =
            Instruction { length, text, flow: Flow::Next, is_system_call: false, loads: None, writes };
        let (mnemonic, operands) = (instruction.mnemonic(), instruction.operands());
        let is_call = self.language.calls.contains(&mnemonic);
        let target = operands.last().and_then(|operand| integer(operand));
        let flow = match target.map(|to| self.target(place, to, behind)) {
            _ if mnemonic == "pop" && instruction.text.ends_with("pc}") => Flow::Away,
            _ if !is_jump && !is_call => Flow::Next,
            Some(to) if is_call => Flow::Call(to),
            Some(to) if self.language.jumps.contains(&mnemonic) => Flow::Jump(to),
            Some(to) => Flow::Branch(to),
            None => Flow::Away,
        };
        let is_system_call = self.language.system_calls.contains(&mnemonic);
        // The program counter is two instructions ahead, here cut down to a whole word.
        let counter = (place + if self.is_thumb { 4 } else { 8 }) & !3;
        let loads = (self.platform == "linux/arm/v7" && mnemonic.starts_with("ldr"))
            .then(|| instruction.text.split_once("[pc, #")?.1.strip_suffix(']'))
            .flatten()
            .and_then(integer)
            .map(|distance| counter.wrapping_add_signed(distance));
        (instruction.flow, instruction.is_system_call, instruction.loads) = (flow, is_system_call, loads);
        instruction
    }

    /// The place a jump or call leads to, from the last operand as Capstone gives it.
    fn target(&self, place: u64, operand: i64, behind: Option<&Instruction>) -> u64 {
        if self.platform != "linux/riscv64" {
            return operand as u64;
        }
        // Relative to the instruction, or to the one behind which it stands if that begins a call to anywhere.
        let far = behind.and_then(|behind| behind.text.strip_prefix("auipc ra, ")).and_then(integer);
        place.wrapping_add_signed(far.map_or(0, |pages| (pages << 12) - 4) + operand)
    }
}

/// A number as Capstone writes it: `#0x10`, `-2`.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim_start_matches('#');
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    value.ok().map(|value| sign * value)
}

/// LoongArch, of which no crate decodes more: all instructions have four bytes. What matters here are system calls,
/// jumps, constants, and the register in the lowest five bits, where nearly all have their destination (LoongArch
/// Reference Manual, volume 1, "Instruction Encoding"). One that has it elsewhere reads what is named there, which at
/// worst makes a system call's number look unknown.
fn loong64(word: u32, place: u64) -> (String, bool) {
    let register = |number: u32| match number {
        0 => "$zero".into(),
        11 => "$a7".into(),
        other => format!("$r{other}"),
    };
    let (first, second) = (register(word & 0x1f), register(word >> 5 & 0x1f));
    let signed = |value: u32, bits: u32| i64::from((value << (32 - bits)) as i32 >> (32 - bits));
    let middle = word >> 10 & 0xffff;
    let to = |distance: i64| place.wrapping_add_signed(4 * distance);
    let text = match word >> 26 {
        0x10 => format!("beqz {second}, {:#x}", to(signed(middle | (word & 0x1f) << 16, 21))),
        0x11 => format!("bnez {second}, {:#x}", to(signed(middle | (word & 0x1f) << 16, 21))),
        0x13 => format!("jirl {first}, {second}, {middle:#x}*4"),
        0x14 => format!("b {:#x}", to(signed(middle | (word & 0x3ff) << 16, 26))),
        0x15 => format!("bl {:#x}", to(signed(middle | (word & 0x3ff) << 16, 26))),
        kind @ 0x16..=0x1b => {
            let mnemonic = ["beq", "bne", "blt", "bge", "bltu", "bgeu"][kind as usize - 0x16];
            format!("{mnemonic} {second}, {first}, {:#x}", to(signed(middle, 16)))
        }
        _ if word >> 15 == 0x56 => return (format!("syscall {:#x}", word & 0x7fff), false),
        _ if word >> 22 == 0x0a => return (format!("addi.w {first}, {second}, {}", signed(word >> 10, 12)), false),
        _ if word >> 22 == 0x0b => return (format!("addi.d {first}, {second}, {}", signed(word >> 10, 12)), false),
        _ if word >> 22 == 0x0e => return (format!("ori {first}, {second}, {:#x}", word >> 10 & 0xfff), false),
        _ => return (format!(".word {first}, {word:#010x}"), false),
    };
    (text, true)
}
