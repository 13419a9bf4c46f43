//! What was measured as one table, a column for each program.

use super::results::{Reaping, Results, Row, Spread, Timing};
use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};

type Cell = fn(&Row, &Row) -> String;

const ROWS: [(&str, Cell); 25] = [
    ("file, B", |row, _| row.file_bytes.to_string()),
    ("layer, compressed, B", |row, _| row.layer_bytes.to_string()),
    ("one node pulls, B", |row, _| row.pulled_bytes.to_string()),
    ("system calls until asleep", |row, _| row.system_calls.to_string()),
    ("page faults until asleep", |row, _| row.page_faults.to_string()),
    ("instructions until asleep", |row, _| row.instructions.to_string()),
    ("exec to asleep, µs", |row, _| time(&row.exec_to_asleep)),
    ("… of the floor's", |row, _| ratio(&row.exec_to_asleep)),
    ("SIGTERM to gone, µs", |row, _| time(&row.term_to_gone)),
    ("… of the floor's", |row, _| ratio(&row.term_to_gone)),
    ("memory charged, KiB", |row, _| kib(row.memory.charged)),
    ("… of the floor's", |row, floor| format!("{:.3}", row.memory.charged / floor.memory.charged)),
    ("resident, KiB", |row, _| kib(row.memory.resident)),
    ("… of files", |row, _| kib(row.memory.resident_files)),
    ("… of the stack", |row, _| kib(row.memory.resident_stack)),
    ("… of anything else", |row, _| kib(row.memory.resident_other)),
    ("proportional, KiB", |row, _| kib(row.memory.proportional)),
    ("page tables, KiB", |row, _| spread(row.memory.page_tables.map(|bytes| bytes / 1024.0), 0)),
    ("orphans", |row, _| orphans(&row.reaping)),
    ("… wake-ups", |row, _| row.reaping.wake_ups.to_string()),
    ("… CPU ticks", |row, _| row.reaping.cpu_ticks.to_string()),
    ("… most zombies at once", |row, _| row.reaping.most_zombies.to_string()),
    ("orphans, starved of CPU", |row, _| orphans(&row.starved)),
    ("… wake-ups", |row, _| row.starved.wake_ups.to_string()),
    ("… most zombies at once", |row, _| row.starved.most_zombies.to_string()),
];

fn time(timing: &Timing) -> String {
    spread(timing.microseconds, 1)
}

fn ratio(timing: &Timing) -> String {
    spread(timing.ratio, 2)
}

fn spread(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.lower, spread.upper)
}

fn kib(bytes: f64) -> String {
    format!("{:.1}", bytes / 1024.0)
}

fn orphans(reaping: &Reaping) -> String {
    if reaping.stopped { format!("gave up at {}", reaping.orphans) } else { reaping.orphans.to_string() }
}

pub fn table(results: &Results) -> Result<String> {
    let mut table = Table::new();
    let names = results.rows.iter().map(|row| row.name.as_str());
    table.load_style(presets::ASCII_MARKDOWN).set_header([""].into_iter().chain(names));
    let floor = results.floor()?;
    for (name, cell) in ROWS {
        table.add_row([name.to_owned()].into_iter().chain(results.rows.iter().map(|row| cell(row, floor))));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n\n{}\n", density(results));
    for missing in &results.missing {
        text += &format!("\nMissing: {}, which `apt-get install {}` brings.\n", missing.name, missing.package);
    }
    Ok(text)
}

fn density(results: &Results) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "sandboxes with four namespaces",
        "of",
        "charged each, KiB",
        "used of the machine each, KiB",
        "start each, µs",
    ]);
    for density in &results.density {
        for step in &density.steps {
            let [charged, used] = [step.charged_bytes, step.used_bytes].map(kib);
            let start = spread(step.start_microseconds, 0);
            table.add_row([step.sandboxes.to_string(), density.name.clone(), charged, used, start]);
        }
        if let Some(why) = &density.stopped {
            table.add_row([format!("stopped: {why}"), density.name.clone()]);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Where, when and by whose figures.
pub fn circumstances(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "Measured on {}: {}, {} CPUs of {}, {:.0} GiB, Linux {}.{}",
        results.date,
        machine.platform,
        machine.cpus,
        machine.cpu,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.kernel,
        if results.quick { " A quick run: not to be relied on." } else { "" },
    )
}
