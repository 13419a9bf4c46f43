//! What was measured as tables, one for each question, a row for each program.

use crate::peers::OURS;
use crate::results::*;
use anyhow::Result;
use comfy_table::Table;
use xtask::output::table_of_numbers;

/// What README.md shows, of these programs; with the digits behind the point.
const SHOWN: [&str; 4] = [OURS, "C, glibc", "C, musl", "catatonit -P"];
const FIGURES: [(&str, usize); 6] =
    [(FILE, 0), (PULLED, 0), (EXEC_RATIO, 2), (TERM_RATIO, 2), (CHARGED_RATIO, 2), (WAKE_UPS[0], 0)];

#[rustfmt::skip]
const QUESTIONS: [(&str, &[(&str, usize)]); 6] = [
    ("How large is it?", &[(FILE, 0), (LAYER, 0), (PULLED, 0)]),
    ("How soon does it sleep?", &[(EXEC, 1), (EXEC_RATIO, 2)]),
    ("How soon is it gone?", &[(TERM, 1), (TERM_RATIO, 2)]),
    ("What memory is charged for it?", &[(CHARGED, 1), (CHARGED_RATIO, 2)]),
    ("What do orphans cost?", &[(ORPHANS[0], 0), (WAKE_UPS[0], 0), (TICKS[0], 0), (ZOMBIES[0], 0)]),
    ("And while it is CPU-starved?", &[(ORPHANS[1], 0), (WAKE_UPS[1], 0), (ZOMBIES[1], 0)]),
];

/// What the program is to keep to: at most that, to these digits, beyond which no two runs agree.
const GOALS: [(&str, f64, usize); 7] = [
    (EXEC_RATIO, 1.05, 2),
    (TERM_RATIO, 1.15, 2),
    (CHARGED_RATIO, 1.0, 2),
    (WAKE_UPS[0], 9.0, 0),
    (TICKS[0], 0.0, 0),
    (WAKE_UPS[1], 9.0, 0),
    (TICKS[1], 0.0, 0),
];

/// A few figures of a few programs, a column for each.
pub fn figures(results: &Results) -> Result<Table> {
    let rows = SHOWN.iter().map(|name| results.row(name)).collect::<Result<Vec<_>>>()?;
    let mut table = table_of_numbers([""].into_iter().chain(SHOWN));
    for (name, digits) in FIGURES {
        let cells = rows.iter().map(|row| Ok(format!("{:.digits$}", row.get(name)?.median())));
        table.add_row([Ok(name.to_owned())].into_iter().chain(cells).collect::<Result<Vec<_>>>()?);
    }
    Ok(table)
}

/// Everything of every program.
pub fn all(results: &Results) -> Result<String> {
    let mut text = format!("{}\n\n{}\n", results.circumstances, goals(results)?);
    for (question, columns) in QUESTIONS {
        let mut table = table_of_numbers([""].into_iter().chain(columns.iter().map(|(name, _)| *name)));
        for row in &results.rows {
            let cells = columns.iter().map(|(name, digits)| Ok(row.get(name)?.show(*digits)));
            table.add_row([Ok(row.program.clone())].into_iter().chain(cells).collect::<Result<Vec<_>>>()?);
        }
        text += &format!("\n## {question}\n\n{table}\n");
    }
    text.extend(results.missing.iter().map(|missing| format!("\n{missing}\n")));
    Ok(text)
}

fn goals(results: &Results) -> Result<Table> {
    let row = results.row(OURS)?;
    let mut table = table_of_numbers(["", "at most", "measured", ""]);
    for (name, goal, digits) in GOALS {
        let measured = format!("{:.digits$}", row.get(name)?.median());
        let is_met = measured.parse::<f64>()? <= goal;
        table.add_row([name, &format!("{goal:.digits$}"), &measured, if is_met { "met" } else { "missed" }]);
    }
    Ok(table)
}
