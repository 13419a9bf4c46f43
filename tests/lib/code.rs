//! Which bytes of a file are executed, by QEMU's log of what it translated: a straight run of instructions, when that is
//! about to be executed for the first time.

use crate::{ERROR, INTERRUPT, TERMINATED, VERSION, WARNING};
use object::elf::{EM_ARM, EM_PPC64};
use std::collections::BTreeSet;
use std::ops::Range;
use xtask::elf::Elf;

/// The addresses of all bytes of the instructions in a log (`-d in_asm`).
pub fn translated(log: &str) -> BTreeSet<u64> {
    log.lines().filter_map(instruction).flatten().collect()
}

/// A line has an address, a colon, groups of so many hexadecimal digits each, and the text.
fn instruction(line: &str) -> Option<Range<u64>> {
    let (address, rest) = line.strip_prefix("0x")?.split_once(':')?;
    let start = u64::from_str_radix(address, 16).ok()?;
    let mut groups = rest.split_ascii_whitespace().peekable();
    let digits = groups.peek()?.len();
    let is_group = |group: &&str| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(start..start + (groups.take_while(is_group).count() * digits / 2) as u64)
}

/// Asserts that every byte of a file is executed, or a header, a text, or of no consequence, and that no text is executed.
#[track_caller]
pub fn is_executed(file: &[u8], mut executed: BTreeSet<u64>) {
    let elf = Elf::parse(file).expect("an ELF file");
    let mut texts = BTreeSet::new();
    for text in [VERSION, WARNING, INTERRUPT, TERMINATED, ERROR] {
        let start = file.windows(text.len()).position(|window| window == text.as_bytes()).expect("every text");
        let has_length = usize::from(file[start - 1]) == text.len();
        texts.extend(start as u64 - u64::from(has_length)..(start + text.len()) as u64);
    }
    assert!(executed.is_disjoint(&texts), "a text is executed");
    if elf.machine == EM_ARM {
        let loaded: Vec<u64> = executed.iter().filter_map(|&offset| literal(file, offset)).collect();
        executed.extend(loaded.into_iter().flat_map(|offset| offset..offset + 4));
    }
    executed.extend(texts.into_iter().chain(0..elf.headers));
    let rest: Vec<u64> = (0..file.len() as u64).filter(|offset| !executed.contains(offset)).collect();
    let mut unreached = Vec::new();
    for run in rest.chunk_by(|a, b| a + 1 == *b) {
        let (mut offset, end) = (run[0] as usize, run[0] as usize + run.len());
        while offset < end {
            let Some(length) = unneeded(&elf, file, offset) else {
                unreached.push(format!("{offset:#x}: {:02x?}", &file[offset..end]));
                break;
            };
            offset += length;
        }
    }
    assert!(unreached.is_empty(), "never executed: {unreached:#?}");
}

/// The length of what starts here and need not be executed.
fn unneeded(elf: &Elf, file: &[u8], offset: usize) -> Option<usize> {
    // Padding; and what LLVM ends a function with that does not return: ud2, udf, brk, amswap.w, trap, j .+2, unimp.
    const PADDING: [&[u8]; 3] = [&[0], &[0xd4], &[0x00, 0xbf]];
    const TRAPS: [&[u8]; 6] = [
        &[0x0f, 0x0b],
        &[0xfe, 0xde],
        &[0x20, 0x00, 0x20, 0xd4],
        &[0x00, 0x04, 0x60, 0x38],
        &[0x08, 0x00, 0xe0, 0x7f],
        &[0xa7, 0xf4, 0x00, 0x01],
    ];
    let rest = &file[offset..];
    if let Some(known) = TRAPS.iter().chain(&PADDING).find(|known| rest.starts_with(known)) {
        return Some(known.len());
    }
    let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    // Where a function is entered from other files (64-bit ELF V2 ABI, "Function Prologue"): addis and addi of r2.
    (elf.machine == EM_PPC64 && word(0)? >> 16 == 0x3c4c && word(4)? >> 16 == 0x3842).then_some(8)
}

/// The offset of the word that a Thumb instruction loads from behind the code (`ldr`, encoding T1), if it is one.
fn literal(file: &[u8], offset: u64) -> Option<u64> {
    let at = offset as usize;
    let instruction = u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?);
    let is_load = offset.is_multiple_of(2) && instruction >> 11 == 0b01001;
    is_load.then_some(((offset + 4) & !3) + u64::from(instruction & 0xff) * 4)
}
