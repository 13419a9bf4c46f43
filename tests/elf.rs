//! The shipped file: each promise about its form is one assertion.

mod support;

use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object};
use support::shipped;

type Segment = elf::ProgramHeader64<Endianness>;

struct Shipped {
    bytes: &'static [u8],
    file: ElfFile64<'static, Endianness>,
    endian: Endianness,
    load: Vec<&'static Segment>,
    other: Vec<&'static Segment>,
}

fn examine() -> Shipped {
    let bytes: &[u8] = std::fs::read(shipped()).expect("the shipped file").leak();
    let file = ElfFile64::<Endianness>::parse(bytes).expect("an ELF file");
    let endian = file.endian();
    let headers = file.elf_program_headers().iter();
    let (load, other) = headers.partition(|header| header.p_type(endian) == elf::PT_LOAD);
    Shipped { bytes, file, endian, load, other }
}

#[test]
fn it_is_at_most_640_bytes() {
    let size = examine().bytes.len();
    assert!(size <= 640, "{size} bytes is more than the design allows");
}

#[test]
fn it_is_position_independent_so_that_the_kernel_randomises_it() {
    let elf = examine();
    assert_eq!(elf.file.elf_header().e_type(elf.endian), elf::ET_DYN, "ET_EXEC would fix its address");
}

#[test]
fn it_is_one_segment_that_can_be_read_and_executed_and_not_written() {
    let elf = examine();
    let flags: Vec<_> = elf.load.iter().map(|header| header.p_flags(elf.endian)).collect();
    assert_eq!(flags, [elf::PF_R | elf::PF_X], "one segment costs one mapping, and unwritable it is shared by all");
}

#[test]
fn the_segment_is_the_whole_file() {
    let Shipped { bytes, endian, load, .. } = examine();
    assert_eq!(load[0].p_offset(endian), 0, "the headers are part of the segment");
    assert_eq!(load[0].p_filesz(endian), bytes.len() as u64, "bytes outside of the segment would serve nothing");
    assert_eq!(load[0].p_memsz(endian), load[0].p_filesz(endian), "memory behind the file's end would be writable");
}

#[test]
fn the_segment_is_aligned_to_a_page() {
    let elf = examine();
    assert_eq!(elf.load[0].p_align(elf.endian), 4096, "the kernel maps whole pages");
}

#[test]
fn the_entry_point_lies_behind_the_headers() {
    let elf = examine();
    let segments = elf.load.len() + elf.other.len();
    let headers = size_of::<elf::FileHeader64<Endianness>>() + segments * size_of::<Segment>();
    assert!((headers..elf.bytes.len()).contains(&(elf.file.entry() as usize)), "headers must not be executed");
}

#[test]
fn its_stack_is_not_executable() {
    let Shipped { endian, other, .. } = examine();
    let headers: Vec<_> = other.iter().map(|header| (header.p_type(endian), header.p_flags(endian))).collect();
    assert_eq!(
        headers,
        [(elf::PT_GNU_STACK, elf::PF_R | elf::PF_W)],
        "PT_GNU_STACK is what keeps kernels before 5.8 from making the stack executable; nothing else is needed: no \
         interpreter, no dynamic section, no notes"
    );
}

#[test]
fn it_has_no_section_headers() {
    let elf = examine();
    let header = elf.file.elf_header();
    let (offset, count) = (header.e_shoff(elf.endian), header.e_shnum(elf.endian));
    assert_eq!((offset, count), (0, 0), "the kernel does not read them");
}

#[test]
fn it_holds_no_path_of_the_machine_it_was_built_on() {
    let text = String::from_utf8_lossy(examine().bytes);
    for part in [env!("CARGO_MANIFEST_DIR"), "main.rs", "cargo", "rustc"] {
        assert!(!text.contains(part), "{part:?} found: the file would differ from machine to machine");
    }
}

#[test]
#[ignore = "needs readelf and eu-elflint (binutils, elfutils): cargo test --test elf -- --ignored"]
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
