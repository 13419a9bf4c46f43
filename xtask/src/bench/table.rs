//! What was measured as tables, one for each question, a row for each program.

use super::peers::OURS;
use super::results::{Reaping, Results, Row, Spread};
use crate::output::table_of_numbers;
use anyhow::Result;
use comfy_table::Table;

type Column = (&'static str, fn(&Row) -> String);

/// What README.md shows, of these programs.
const SHOWN: [&str; 4] = [OURS, "C, glibc", "C, musl", "catatonit -P"];
const FIGURES: [Column; 6] = [
    ("file, B", |row| row.file_bytes.to_string()),
    ("one node pulls, B", |row| row.pulled_bytes.to_string()),
    ("exec to asleep / baseline", |row| format!("{:.2}", row.exec_to_asleep.ratio.median)),
    ("SIGTERM to gone / baseline", |row| format!("{:.2}", row.term_to_gone.ratio.median)),
    ("memory charged / baseline", |row| format!("{:.2}", row.memory.ratio.median)),
    ("wake-ups by 100,000 orphans", |row| row.reaping.wake_ups.to_string()),
];

const QUESTIONS: [(&str, &[Column]); 7] = [
    (
        "How large is it?",
        &[
            ("file, B", |row| row.file_bytes.to_string()),
            ("layer, compressed, B", |row| row.layer_bytes.to_string()),
            ("one node pulls, B", |row| row.pulled_bytes.to_string()),
        ],
    ),
    (
        "How soon does it sleep?",
        &[
            ("system calls", |row| row.system_calls.to_string()),
            ("page faults", |row| row.page_faults.to_string()),
            ("instructions", |row| row.instructions.to_string()),
            ("exec to asleep, µs", |row| spread(row.exec_to_asleep.microseconds, 1)),
            ("/ baseline", |row| spread(row.exec_to_asleep.ratio, 2)),
        ],
    ),
    (
        "How soon is it gone?",
        &[
            ("SIGTERM to gone, µs", |row| spread(row.term_to_gone.microseconds, 1)),
            ("/ baseline", |row| spread(row.term_to_gone.ratio, 2)),
        ],
    ),
    (
        "What memory is charged for it?",
        &[
            ("charged, KiB", |row| spread(row.memory.charged.map(|bytes| bytes / 1024.0), 1)),
            ("/ baseline", |row| spread(row.memory.ratio, 2)),
            ("page tables, KiB", |row| spread(row.memory.page_tables.map(|bytes| bytes / 1024.0), 0)),
        ],
    ),
    (
        "What of it is resident, in KiB?",
        &[
            ("resident", |row| kib(row.memory.resident)),
            ("of files", |row| kib(row.memory.resident_files)),
            ("of the stack", |row| kib(row.memory.resident_stack)),
            ("of anything else", |row| kib(row.memory.resident_other)),
            ("proportional", |row| kib(row.memory.proportional)),
        ],
    ),
    (
        "What do orphans cost?",
        &[
            ("orphans", |row| orphans(&row.reaping)),
            ("wake-ups", |row| row.reaping.wake_ups.to_string()),
            ("CPU ticks", |row| row.reaping.cpu_ticks.to_string()),
            ("most zombies at once", |row| row.reaping.most_zombies.to_string()),
        ],
    ),
    (
        "And while it is CPU-starved?",
        &[
            ("orphans", |row| orphans(&row.cpu_starved)),
            ("wake-ups", |row| row.cpu_starved.wake_ups.to_string()),
            ("most zombies at once", |row| row.cpu_starved.most_zombies.to_string()),
        ],
    ),
];

fn spread(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}–{:.digits$})", spread.median, spread.lower, spread.upper)
}

fn kib(bytes: f64) -> String {
    format!("{:.1}", bytes / 1024.0)
}

fn orphans(reaping: &Reaping) -> String {
    if reaping.stopped { format!("stopped at {}", reaping.orphans) } else { reaping.orphans.to_string() }
}

/// A few figures of a few programs, a column for each.
pub fn figures(results: &Results) -> Result<Table> {
    let rows = SHOWN.iter().map(|name| results.row(name)).collect::<Result<Vec<_>>>()?;
    let mut table = table_of_numbers([""].into_iter().chain(SHOWN));
    for (name, show) in FIGURES {
        table.add_row([name.to_owned()].into_iter().chain(rows.iter().map(|row| show(row))));
    }
    Ok(table)
}

/// Everything of every program.
pub fn all(results: &Results) -> String {
    let mut text = String::new();
    for (question, columns) in QUESTIONS {
        let mut table = table_of_numbers([""].into_iter().chain(columns.iter().map(|(name, _)| *name)));
        for row in &results.rows {
            table.add_row([row.name.clone()].into_iter().chain(columns.iter().map(|(_, show)| show(row))));
        }
        text += &format!("## {question}\n\n{table}\n\n");
    }
    text += &format!("## Does a sandbox cost more where there are many?\n\n{}\n", density(results));
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
        ("exec to asleep / baseline", 1.05, row.exec_to_asleep.ratio.median),
        ("SIGTERM to gone / baseline", 1.15, row.term_to_gone.ratio.median),
        ("memory charged / baseline", 1.00, row.memory.ratio.median),
    ] {
        // To the hundredth, beyond which no two runs agree.
        let measured = format!("{ratio:.2}");
        let is_met = measured.parse::<f64>()? <= goal;
        add(what.to_owned(), &format!("{goal:.2}"), measured, is_met);
    }
    for (what, reaping) in [("", &row.reaping), (", CPU-starved", &row.cpu_starved)] {
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
    let mut table =
        table_of_numbers(["of", "sandboxes", "charged each, KiB", "used of the machine each, KiB", "start each, µs"]);
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
        if results.quick { " A quick run: a smoke test, not a measurement." } else { "" },
    )
}
