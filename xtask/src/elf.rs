//! What the header of an ELF file says, of either class and byte order.

use anyhow::{Context, Result, bail};
use object::elf::{self, FileHeader32, FileHeader64, FileType, Machine, ProgramFlags};
use object::read::elf::{ElfFile, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, FileKind};
use std::fs;

pub struct Elf {
    pub machine: Machine,
    pub kind: FileType,
    /// Whether the kernel has to load another program to run this one.
    pub interpreted: bool,
    /// Bytes of the ELF header and the program headers together.
    pub headers: u64,
    pub has_sections: bool,
    /// Bytes of the sections that hold code, and of those that hold constants.
    pub code: u64,
    pub constants: u64,
    pub loads: Vec<Load>,
    /// The flags of PT_GNU_STACK; without it the kernel's default applies.
    pub stack_flags: Option<ProgramFlags>,
}

pub struct Load {
    pub flags: ProgramFlags,
    pub file_end: u64,
}

impl Elf {
    pub fn parse(data: &[u8]) -> Result<Self> {
        match FileKind::parse(data) {
            Ok(FileKind::Elf32) => read::<FileHeader32<Endianness>>(data),
            Ok(FileKind::Elf64) => read::<FileHeader64<Endianness>>(data),
            _ => bail!("not an ELF file"),
        }
    }

    /// This program's own, which tells what the machine runs.
    pub fn of_this_program() -> Result<Self> {
        Self::parse(&fs::read("/proc/self/exe").context("cannot read /proc/self/exe")?)
    }

    /// Where the last byte that is loaded ends: nothing behind it is used at run time.
    pub fn end_of_loads(&self) -> u64 {
        self.loads.iter().map(|load| load.file_end).max().unwrap_or_default()
    }
}

fn read<Header: FileHeader<Endian = Endianness>>(data: &[u8]) -> Result<Elf> {
    let file = ElfFile::<Header>::parse(data).context("damaged ELF file")?;
    let (header, endian) = (file.elf_header(), file.endian());
    let mut elf = Elf {
        machine: header.e_machine(endian),
        kind: header.e_type(endian),
        interpreted: false,
        headers: u64::from(header.e_ehsize(endian))
            + u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian)),
        has_sections: header.e_shoff(endian).into() != 0,
        code: 0,
        constants: 0,
        loads: Vec::new(),
        stack_flags: None,
    };
    for segment in file.elf_program_headers() {
        let flags = segment.p_flags(endian);
        let file_end = segment.p_offset(endian).into().checked_add(segment.p_filesz(endian).into());
        let file_end = file_end.filter(|&end| end <= data.len() as u64);
        let file_end = file_end.context("damaged ELF file: a segment lies outside of it")?;
        match segment.p_type(endian) {
            elf::PT_LOAD => elf.loads.push(Load { flags, file_end }),
            elf::PT_INTERP => elf.interpreted = true,
            elf::PT_GNU_STACK => elf.stack_flags = Some(flags),
            _ => {}
        }
    }
    for section in file.elf_section_table().iter() {
        let (flags, size) = (section.sh_flags(endian), section.sh_size(endian).into());
        let is_constant = flags.contains(elf::SHF_ALLOC) && !flags.contains(elf::SHF_WRITE);
        if section.sh_type(endian) == elf::SHT_PROGBITS && is_constant {
            let sum = if flags.contains(elf::SHF_EXECINSTR) { &mut elf.code } else { &mut elf.constants };
            *sum = sum.checked_add(size).context("damaged ELF file: its sections are larger than any file")?;
        }
    }
    Ok(elf)
}
