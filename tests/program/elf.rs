//! The form of the shipped file.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, elf};
use pause_tests::{ROOT, built, platform, shipped};
use std::path::Path;
use xtask::platform::{PLATFORMS, Platform};

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
    let bytes = std::fs::read(path).expect("the shipped file");
    match FileKind::parse(&*bytes).expect("an object file") {
        FileKind::Elf32 => is_as_designed::<elf::FileHeader32<Endianness>>(platform, &bytes),
        FileKind::Elf64 => is_as_designed::<elf::FileHeader64<Endianness>>(platform, &bytes),
        other => panic!("{other:?} is no ELF file"),
    }
}

fn is_as_designed<Header: FileHeader<Endian = Endianness>>(platform: &Platform, bytes: &[u8]) {
    let header = Header::parse(bytes).expect("an ELF header");
    let endian = header.endian().expect("a byte order");
    let segments = header.program_headers(endian, bytes).expect("program headers");
    let size = bytes.len() as u64;
    assert!(size <= platform.most_bytes, "{platform}: {size} bytes are more than {}", platform.most_bytes);
    // Unwritable, the one segment is shared by all. PT_GNU_STACK is what keeps kernels before 5.8 from making the stack
    // executable. There is no interpreter, no dynamic section, no note.
    let kinds: Vec<_> = segments.iter().map(|segment| (segment.p_type(endian), segment.p_flags(endian))).collect();
    let expected = [(elf::PT_LOAD, elf::PF_R | elf::PF_X), (elf::PT_GNU_STACK, elf::PF_R | elf::PF_W)];
    assert_eq!(kinds, expected, "{platform}");
    let loaded = &segments[0];
    let [offset, file_size, memory_size] =
        [loaded.p_offset(endian), loaded.p_filesz(endian), loaded.p_memsz(endian)].map(Into::into);
    assert_eq!((offset, file_size), (0, size), "{platform}: the segment is not the whole file");
    assert_eq!(memory_size, size, "{platform}: memory behind the file's end would be writable");
    let (alignment, address): (u64, u64) = (loaded.p_align(endian).into(), loaded.p_vaddr(endian).into());
    assert!(
        alignment.is_power_of_two() && alignment >= 4096,
        "{platform}: the kernel maps pages, not {alignment} bytes"
    );
    if platform.machine == elf::EM_386 {
        // Without addresses relative to the program counter it would take tables of addresses.
        assert_eq!(header.e_type(endian), elf::ET_EXEC);
        assert!(address >= 0x10000, "vm.mmap_min_addr forbids lower addresses");
    } else {
        assert_eq!((header.e_type(endian), address), (elf::ET_DYN, 0), "{platform}: ET_EXEC would fix its address");
    }
    let headers: u64 = (header.e_ehsize(endian) + header.e_phnum(endian) * header.e_phentsize(endian)).into();
    let code = address + headers..address + size;
    assert!(code.contains(&header.e_entry(endian).into()), "{platform}: headers must not be executed");
    let section_headers = (header.e_shoff(endian).into(), header.e_shnum(endian));
    assert_eq!(section_headers, (0, 0), "{platform}: the kernel does not read them");
    let text = String::from_utf8_lossy(bytes);
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
