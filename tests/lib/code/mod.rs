//! The machine code of a shipped file, taken apart: every instruction, where control goes from it, and the system calls
//! it can make.

pub mod decoder;
mod number;

use decoder::{Decoder, Flow, Instruction};
use object::{Object, ObjectSegment};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What is put between to align a function or a word: zeros, on arm a trap or, in Thumb, a `nop`.
const FILLERS: [[u8; 4]; 3] = [[0; 4], [0xd4; 4], [0x00, 0xbf, 0x00, 0xbf]];

/// The instructions of a file by their places in it, and what stands between them.
pub struct Code {
    platform: String,
    pub instructions: BTreeMap<u64, Instruction>,
    /// Words that an instruction loads, and gaps behind the end of a function.
    pub between: Vec<Range<u64>>,
}

impl Code {
    /// Decodes everything from the entry point to the texts, of which `texts` has all.
    pub fn of(platform: &str, file: &[u8], texts: &[&str]) -> Self {
        let elf = object::File::parse(file).expect("an ELF file");
        let segment = elf.segments().next().expect("a segment");
        let decoder = Decoder::of(platform, elf.entry());
        let end = texts.iter().map(|text| start_of(file, text)).min().expect("a text");
        let mut code = Self { platform: platform.into(), instructions: BTreeMap::new(), between: Vec::new() };
        let mut loaded = BTreeSet::new();
        let mut place = (elf.entry() - segment.address()) & !u64::from(platform == "linux/arm/v7");
        while place < end {
            let bytes = &file[place as usize..end as usize];
            let gap = (4 - place % 4).min(end - place);
            if loaded.contains(&place) {
                code.between.push(place..place + 4);
                place += 4;
                continue;
            }
            let is_filler = FILLERS.iter().any(|filler| bytes.starts_with(&filler[..gap as usize]));
            if code.is_end_of_function() && is_filler {
                code.between.push(place..place + gap);
                place += gap;
                continue;
            }
            let start = place;
            for instruction in decoder.decode(bytes, place) {
                if loaded.contains(&place) || place > start && code.is_end_of_function() {
                    break;
                }
                loaded.extend(instruction.loads);
                let length = instruction.length;
                code.instructions.insert(place, instruction);
                place += length;
            }
            assert!(place > start, "{place:#x} of {platform} is no instruction");
        }
        code
    }

    fn is_end_of_function(&self) -> bool {
        self.instructions.last_key_value().is_some_and(|(_, last)| !last.flow.falls_through())
    }

    /// Everything decoded, in the order of the file.
    pub fn range(&self) -> Range<u64> {
        let last = self.instructions.last_key_value().map_or(0, |(place, last)| place + last.length);
        let end = self.between.last().map_or(0, |last| last.end).max(last);
        *self.instructions.first_key_value().expect("not empty").0..end
    }

    /// For a report: the places and instructions of those that are named.
    pub fn listing(&self, places: impl IntoIterator<Item = u64>) -> String {
        let line = |place| format!("\n{place:6x}  {}", self.instructions[&place].text);
        places.into_iter().map(line).collect()
    }

    /// Asserts that every instruction was executed, and nothing else, by the places that were.
    #[track_caller]
    pub fn is_executed_in(&self, places: &BTreeSet<u64>) {
        let unknown: Vec<_> = places.iter().filter(|place| !self.instructions.contains_key(place)).collect();
        assert!(unknown.is_empty(), "executed without being an instruction: {unknown:#x?}");
        let is_unreached = |place: &u64| !places.contains(place) && !self.is_for_other_files(*place);
        let unreached: Vec<_> = self.instructions.keys().copied().filter(is_unreached).collect();
        let (count, all) = (unreached.len(), self.instructions.len());
        assert!(count == 0, "{count} of {all} instructions are never executed:{}", self.listing(unreached));
    }

    /// Whether it belongs to the two instructions by which a function of ppc64le finds its data when it is called from
    /// another file; calls within a file lead behind them (64-bit ELF V2 ABI, "Function Prologue").
    fn is_for_other_files(&self, place: u64) -> bool {
        let is = |place, start| self.instructions.get(&place).is_some_and(|other| other.text.starts_with(start));
        let begins = |place| is(place, "addis r2, r12, ") && is(place + 4, "addi r2, r2, ");
        let is_called_behind = |place| self.instructions.values().any(|other| other.flow == Flow::Call(place + 8));
        self.platform == "linux/ppc64le"
            && [place, place - 4].into_iter().any(|place| begins(place) && is_called_behind(place))
    }

    /// Every system-call instruction and the names of the calls it can make, whatever way control comes to it.
    pub fn system_calls(&self) -> BTreeMap<u64, BTreeSet<String>> {
        let sites = self.instructions.iter().filter(|(_, instruction)| instruction.is_system_call);
        let names = |site| self.numbers(site).into_iter().map(|number| number::name(&self.platform, number)).collect();
        sites.map(|(&site, _)| (site, names(site))).collect()
    }
}

/// Where a text starts, or its length if that stands before it.
fn start_of(file: &[u8], text: &str) -> u64 {
    let start = file.windows(text.len()).position(|window| window == text.as_bytes());
    let start = start.unwrap_or_else(|| panic!("the file does not have {text:?}"));
    (start - (usize::from(file[start - 1]) == text.len()) as usize) as u64
}
