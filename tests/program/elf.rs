//! The form of the shipped file.

use goblin::elf::Elf;
use goblin::elf::header::{EM_386, ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PF_R, PF_W, PF_X, PT_GNU_STACK, PT_LOAD};
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
    let Elf { header, program_headers, entry, .. } = Elf::parse(&bytes).expect("an ELF file");
    let size = bytes.len() as u64;
    assert!(size <= platform.most_bytes, "{platform}: {size} bytes are more than {}", platform.most_bytes);
    // Unwritable, the one segment is shared by all. PT_GNU_STACK is what keeps kernels before 5.8 from making the stack
    // executable. There is no interpreter, no dynamic section, no note.
    let kinds: Vec<_> = program_headers.iter().map(|segment| (segment.p_type, segment.p_flags)).collect();
    assert_eq!(kinds, [(PT_LOAD, PF_R | PF_X), (PT_GNU_STACK, PF_R | PF_W)], "{platform}");
    let loaded = &program_headers[0];
    assert_eq!((loaded.p_offset, loaded.p_filesz), (0, size), "{platform}: the segment is not the whole file");
    assert_eq!(loaded.p_memsz, size, "{platform}: memory behind the file's end would be writable");
    let (alignment, address) = (loaded.p_align, loaded.p_vaddr);
    assert!(
        alignment.is_power_of_two() && alignment >= 4096,
        "{platform}: the kernel maps pages, not {alignment} bytes"
    );
    if platform.machine == EM_386 {
        // Without addresses relative to the program counter it would take tables of addresses.
        assert_eq!(header.e_type, ET_EXEC);
        assert!(address >= 0x10000, "vm.mmap_min_addr forbids lower addresses");
    } else {
        assert_eq!((header.e_type, address), (ET_DYN, 0), "{platform}: ET_EXEC would fix its address");
    }
    let headers = u64::from(header.e_ehsize + header.e_phnum * header.e_phentsize);
    assert!((address + headers..address + size).contains(&entry), "{platform}: headers must not be executed");
    assert_eq!((header.e_shoff, header.e_shnum), (0, 0), "{platform}: the kernel does not read section headers");
    let text = String::from_utf8_lossy(&bytes);
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
