//! The shipped file: each promise about its form is one assertion.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, elf};
use pause_tests::ROOT;
use pause_tests::{platform, shipped};

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

fn examine() -> Shipped {
    let bytes: &[u8] = std::fs::read(shipped()).expect("the shipped file").leak();
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

impl Shipped {
    /// The one segment that is loaded.
    fn loaded(&self) -> &Segment {
        &self.segments[0]
    }
}

#[test]
fn it_is_as_small_as_the_design_asks() {
    let limit = platform().most_bytes;
    let size = examine().bytes.len() as u64;
    assert!(size <= limit, "{size} bytes are more than {limit}");
}

#[test]
fn it_is_position_independent_so_that_the_kernel_randomises_it() {
    let elf = examine();
    if platform().machine == elf::EM_386 {
        // Without addresses relative to the program counter it would take tables of addresses.
        assert_eq!(elf.kind, elf::ET_EXEC);
        assert!(elf.loaded().address >= 0x10000, "vm.mmap_min_addr forbids lower addresses");
    } else {
        assert_eq!((elf.kind, elf.loaded().address), (elf::ET_DYN, 0), "ET_EXEC would fix its address");
    }
}

#[test]
fn it_is_one_segment_that_can_be_read_and_executed_and_not_written() {
    let elf = examine();
    let loaded = elf.segments.iter().filter(|segment| segment.kind == elf::PT_LOAD);
    let flags: Vec<_> = loaded.map(|segment| segment.flags).collect();
    assert_eq!(flags, [elf::PF_R | elf::PF_X], "one segment costs one mapping, and unwritable it is shared by all");
}

#[test]
fn the_segment_is_the_whole_file() {
    let elf = examine();
    let segment = elf.loaded();
    assert_eq!(segment.offset, 0, "the headers are part of the segment");
    assert_eq!(segment.file_size, elf.bytes.len() as u64, "bytes outside of the segment would serve nothing");
    assert_eq!(segment.memory_size, segment.file_size, "memory behind the file's end would be writable");
}

#[test]
fn the_segment_is_aligned_to_whole_pages() {
    let alignment = examine().loaded().alignment;
    assert!(alignment.is_power_of_two() && alignment >= 4096, "the kernel maps whole pages, not {alignment} bytes");
}

#[test]
fn the_entry_point_lies_behind_the_headers() {
    let elf = examine();
    let code = elf.loaded().address + elf.headers..elf.loaded().address + elf.bytes.len() as u64;
    assert!(code.contains(&elf.entry), "headers must not be executed");
}

#[test]
fn its_stack_is_not_executable() {
    let elf = examine();
    let other = elf.segments.iter().filter(|segment| segment.kind != elf::PT_LOAD);
    let headers: Vec<_> = other.map(|segment| (segment.kind, segment.flags)).collect();
    assert_eq!(
        headers,
        [(elf::PT_GNU_STACK, elf::PF_R | elf::PF_W)],
        "PT_GNU_STACK is what keeps kernels before 5.8 from making the stack executable; nothing else is needed: no \
         interpreter, no dynamic section, no notes"
    );
}

#[test]
fn it_has_no_section_headers() {
    assert_eq!(examine().section_headers, (0, 0), "the kernel does not read them");
}

#[test]
fn it_holds_no_path_of_the_machine_it_was_built_on() {
    let text = String::from_utf8_lossy(examine().bytes);
    for part in [ROOT, "main.rs", "cargo", "rustc"] {
        assert!(!text.contains(part), "{part:?} found: the file would differ from machine to machine");
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
