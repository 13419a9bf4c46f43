//! The form of the shipped file.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, elf};
use pause_tests::{ROOT, built, platform, shipped};
use std::path::Path;
use xtask::platform::{PLATFORMS, Platform};

/// What the file says of itself, in numbers that are the same for 32 and 64 bits.
struct Shipped {
    bytes: &'static [u8],
    kind: elf::FileType,
    entry: u64,
    headers: u64,
    section_headers: (u64, u16),
    segments: Vec<Segment>,
}

struct Segment {
    kind: elf::ProgramType,
    flags: elf::ProgramFlags,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

fn examine(path: &Path) -> Shipped {
    let bytes: &[u8] = std::fs::read(path).expect("the shipped file").leak();
    match FileKind::parse(bytes).expect("an object file") {
        FileKind::Elf32 => read::<elf::FileHeader32<Endianness>>(bytes),
        FileKind::Elf64 => read::<elf::FileHeader64<Endianness>>(bytes),
        other => panic!("{other:?} is no ELF file"),
    }
}

fn read<Header: FileHeader<Endian = Endianness>>(bytes: &'static [u8]) -> Shipped {
    let header = Header::parse(bytes).expect("an ELF header");
    let endian = header.endian().expect("a byte order");
    let segment = |segment: &Header::ProgramHeader| Segment {
        kind: segment.p_type(endian),
        flags: segment.p_flags(endian),
        offset: segment.p_offset(endian).into(),
        address: segment.p_vaddr(endian).into(),
        file_size: segment.p_filesz(endian).into(),
        memory_size: segment.p_memsz(endian).into(),
        alignment: segment.p_align(endian).into(),
    };
    Shipped {
        bytes,
        kind: header.e_type(endian),
        entry: header.e_entry(endian).into(),
        headers: (header.e_ehsize(endian) + header.e_phnum(endian) * header.e_phentsize(endian)).into(),
        section_headers: (header.e_shoff(endian).into(), header.e_shnum(endian)),
        segments: header.program_headers(endian, bytes).expect("program headers").iter().map(segment).collect(),
    }
}

#[test]
fn it_has_the_form_that_the_design_asks_for() {
    has_its_form(platform(), shipped());
}

#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): \
            cargo test --test program elf:: -- --ignored"]
fn the_file_of_every_platform_has_it() {
    for program in built(&PLATFORMS.iter().collect::<Vec<_>>()) {
        has_its_form(program.platform, &program.path);
    }
}

fn has_its_form(platform: &Platform, path: &Path) {
    let elf = examine(path);
    let size = elf.bytes.len() as u64;
    assert!(size <= platform.most_bytes, "{platform}: {size} bytes are more than {}", platform.most_bytes);
    // Unwritable, the one segment is shared by all. PT_GNU_STACK is what keeps kernels before 5.8 from making the stack
    // executable. There is no interpreter, no dynamic section, no note.
    let segments: Vec<_> = elf.segments.iter().map(|segment| (segment.kind, segment.flags)).collect();
    let expected = [(elf::PT_LOAD, elf::PF_R | elf::PF_X), (elf::PT_GNU_STACK, elf::PF_R | elf::PF_W)];
    assert_eq!(segments, expected, "{platform}");
    let loaded = &elf.segments[0];
    assert_eq!((loaded.offset, loaded.file_size), (0, size), "{platform}: the segment is not the whole file");
    assert_eq!(loaded.memory_size, size, "{platform}: memory behind the file's end would be writable");
    let alignment = loaded.alignment;
    assert!(
        alignment.is_power_of_two() && alignment >= 4096,
        "{platform}: the kernel maps pages, not {alignment} bytes"
    );
    if platform.machine == elf::EM_386 {
        // Without addresses relative to the program counter it would take tables of addresses.
        assert_eq!(elf.kind, elf::ET_EXEC);
        assert!(loaded.address >= 0x10000, "vm.mmap_min_addr forbids lower addresses");
    } else {
        assert_eq!((elf.kind, loaded.address), (elf::ET_DYN, 0), "{platform}: ET_EXEC would fix its address");
    }
    let code = loaded.address + elf.headers..loaded.address + size;
    assert!(code.contains(&elf.entry), "{platform}: headers must not be executed");
    assert_eq!(elf.section_headers, (0, 0), "{platform}: the kernel does not read them");
    let text = String::from_utf8_lossy(elf.bytes);
    for part in [ROOT, "main.rs", "cargo", "rustc"] {
        assert!(!text.contains(part), "{platform}: {part:?} found: the file would differ from machine to machine");
    }
}

#[test]
#[ignore = "needs readelf and eu-elflint (binutils, elfutils): cargo test --test program elf:: -- --ignored"]
fn readelf_and_elflint_have_no_complaint() {
    for (program, option) in [("eu-elflint", "--quiet"), ("readelf", "--all")] {
        let mut command = std::process::Command::new(program);
        command.arg(option).arg(shipped()).env("LC_ALL", "C");
        let output = command.output().unwrap_or_else(|error| panic!("{program} does not run: {error}"));
        let complaints = String::from_utf8_lossy(&output.stderr);
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{program}: {report}{complaints}");
        assert!(complaints.is_empty(), "{program}: {complaints}");
        assert!(!report.to_lowercase().contains("warning") && !report.to_lowercase().contains("error"), "{report}");
    }
}
