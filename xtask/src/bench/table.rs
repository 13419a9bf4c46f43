//! What was measured as one table, a column for each program.

use super::peers::OURS;
use super::results::{Reaping, Results, Row, Spread, Timing};
use crate::output::table_of_numbers;
use anyhow::Result;
use comfy_table::Table;

type Show = fn(&Row) -> String;

const ROWS: [(&str, Show); 25] = [
    ("file, B", |row| row.file_bytes.to_string()),
    ("layer, compressed, B", |row| row.layer_bytes.to_string()),
    ("one node pulls, B", |row| row.pulled_bytes.to_string()),
    ("system calls until asleep", |row| row.system_calls.to_string()),
    ("page faults until asleep", |row| row.page_faults.to_string()),
    ("instructions until asleep", |row| row.instructions.to_string()),
    ("exec to asleep, µs", |row| time(&row.exec_to_asleep)),
    ("… of the floor's", |row| spread(row.exec_to_asleep.ratio, 2)),
    ("SIGTERM to gone, µs", |row| time(&row.term_to_gone)),
    ("… of the floor's", |row| spread(row.term_to_gone.ratio, 2)),
    ("memory charged, KiB", |row| spread(row.memory.charged.map(|bytes| bytes / 1024.0), 1)),
    ("… of the floor's", |row| spread(row.memory.ratio, 2)),
    ("resident, KiB", |row| kib(row.memory.resident)),
    ("… of files", |row| kib(row.memory.resident_files)),
    ("… of the stack", |row| kib(row.memory.resident_stack)),
    ("… of anything else", |row| kib(row.memory.resident_other)),
    ("proportional, KiB", |row| kib(row.memory.proportional)),
    ("page tables, KiB", |row| spread(row.memory.page_tables.map(|bytes| bytes / 1024.0), 0)),
    ("orphans", |row| orphans(&row.reaping)),
    ("… wake-ups", |row| row.reaping.wake_ups.to_string()),
    ("… CPU ticks", |row| row.reaping.cpu_ticks.to_string()),
    ("… most zombies at once", |row| row.reaping.most_zombies.to_string()),
    ("orphans, starved of CPU", |row| orphans(&row.starved)),
    ("… wake-ups", |row| row.starved.wake_ups.to_string()),
    ("… most zombies at once", |row| row.starved.most_zombies.to_string()),
];

fn time(timing: &Timing) -> String {
    spread(timing.microseconds, 1)
}

fn spread(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.lower, spread.upper)
}

fn kib(bytes: f64) -> String {
    format!("{:.1}", bytes / 1024.0)
}

fn orphans(reaping: &Reaping) -> String {
    if reaping.stopped { format!("stopped at {}", reaping.orphans) } else { reaping.orphans.to_string() }
}

/// Everything of every program.
pub fn all(results: &Results) -> String {
    let names = results.rows.iter().map(|row| row.name.as_str());
    let mut table = table_of_numbers([""].into_iter().chain(names));
    for (name, show) in ROWS {
        table.add_row([name.to_owned()].into_iter().chain(results.rows.iter().map(show)));
    }
    let mut text = format!("{table}\n\n{}\n", density(results));
    for missing in &results.missing {
        text += &format!("\nMissing: {}, which `apt-get install {}` brings.\n", missing.name, missing.package);
    }
    text
}

/// What the program is to keep to, and what it does.
pub fn goals(results: &Results) -> Result<Table> {
    let row = results.row(OURS)?;
    let mut table = table_of_numbers(["", "at most", "measured", ""]);
    let mut add = |what: String, goal: &str, measured: String, is_met: bool| {
        table.add_row([what, goal.to_owned(), measured, if is_met { "met" } else { "missed" }.to_owned()]);
    };
    for (what, goal, ratio) in [
        ("exec to asleep, of the floor's", 1.05, row.exec_to_asleep.ratio.median),
        ("SIGTERM to gone, of the floor's", 1.25, row.term_to_gone.ratio.median),
        ("memory charged, of the floor's", 1.00, row.memory.ratio.median),
    ] {
        // To the hundredth, beyond which no two runs agree.
        let measured = format!("{ratio:.2}");
        let is_met = measured.parse::<f64>()? <= goal;
        add(what.to_owned(), &format!("{goal:.2}"), measured, is_met);
    }
    for (what, reaping) in [("", &row.reaping), (", starved of CPU", &row.starved)] {
        let (wake_ups, ticks) = (reaping.wake_ups, reaping.cpu_ticks);
        add(format!("wake-ups by {} orphans{what}", reaping.orphans), "9", wake_ups.to_string(), wake_ups < 10);
        add(format!("CPU ticks for {} orphans{what}", reaping.orphans), "0", ticks.to_string(), ticks == 0);
    }
    if let Some(density) = results.density.iter().find(|density| density.name == OURS)
        && let [first, .., last] = &density.steps[..]
    {
        let (charged, start) = (last.charged_bytes, last.start_microseconds);
        let among = format!("of a sandbox among {}, of one among {}", last.sandboxes, first.sandboxes);
        // To five in a hundred, for one page is half of that where few share it.
        let ratio = charged.median / first.charged_bytes.median;
        add(format!("memory charged {among}"), "1.05", format!("{ratio:.2}"), ratio <= 1.05);
        // Times have no such bound: the middle halves may have no less than something in common.
        let ratio = start.median / first.start_microseconds.median;
        let is_within = start.lower <= first.start_microseconds.upper;
        add(format!("start {among}"), "the noise", format!("{ratio:.2}"), is_within);
    }
    Ok(table)
}

fn density(results: &Results) -> Table {
    let mut table = table_of_numbers([
        "of",
        "sandboxes with four namespaces",
        "charged each, KiB",
        "used of the machine each, KiB",
        "start each, µs",
    ]);
    for density in &results.density {
        for step in &density.steps {
            let charged = spread(step.charged_bytes.map(|bytes| bytes / 1024.0), 1);
            let used = step.used_bytes.map_or_else(|| "–".to_owned(), kib);
            let start = spread(step.start_microseconds, 0);
            table.add_row([density.name.clone(), step.sandboxes.to_string(), charged, used, start]);
        }
        if let Some(why) = &density.stopped {
            table.add_row([density.name.clone(), format!("stopped: {why}")]);
        }
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
