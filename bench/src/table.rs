//! What was measured as tables, one for each question, a row for each program.

use crate::peers::OURS;
use crate::results::*;
use anyhow::{Context, Result};
use comfy_table::Table;
use xtask::output::table_of_numbers;

/// What README.md shows, of these programs; with the digits behind the point.
const SHOWN: [&str; 4] = [OURS, "C, glibc", "C, musl", "catatonit -P"];
const FIGURES: [(&str, usize); 6] =
    [(FILE, 0), (PULLED, 0), (EXEC_RATIO, 2), (TERM_RATIO, 2), (CHARGED_RATIO, 2), (WAKE_UPS[0], 0)];

#[rustfmt::skip]
const QUESTIONS: [(&str, &[(&str, usize)]); 7] = [
    ("How large is it?", &[(FILE, 0), (LAYER, 0), (PULLED, 0)]),
    ("How soon does it sleep?", &[(EXEC, 1), (EXEC_RATIO, 2)]),
    ("How soon is it gone?", &[(TERM, 1), (TERM_RATIO, 2)]),
    ("What memory is charged for it?", &[(CHARGED, 1), (CHARGED_RATIO, 2)]),
    ("What do orphans cost?", &[(ORPHANS[0], 0), (WAKE_UPS[0], 0), (TICKS[0], 0), (ZOMBIES[0], 0)]),
    ("And while it is CPU-starved?", &[(ORPHANS[1], 0), (WAKE_UPS[1], 0), (ZOMBIES[1], 0)]),
    ("Does a sandbox cost more where there are many?",
        &[(SANDBOXES, 0), (CHARGED_EACH, 1), (USED_EACH, 1), (START_EACH, 0)]),
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
        for row in results.rows.iter().filter(|row| row.figures.contains_key(columns[0].0)) {
            let show =
                |&(name, digits): &(&str, usize)| row.figures.get(name).map_or("–".into(), |it| it.show(digits));
            table.add_row([row.program.clone()].into_iter().chain(columns.iter().map(show)));
        }
        text += &format!("\n## {question}\n\n{table}\n");
    }
    text.extend(results.missing.iter().map(|missing| format!("\n{missing}\n")));
    Ok(text)
}

fn goals(results: &Results) -> Result<Table> {
    let row = results.row(OURS)?;
    let mut table = table_of_numbers(["", "at most", "measured", ""]);
    let mut add = |what: &str, goal: &str, measured: String, is_met: bool| {
        table.add_row([what, goal, &measured, if is_met { "met" } else { "missed" }]);
    };
    for (name, goal, digits) in GOALS {
        let measured = format!("{:.digits$}", row.get(name)?.median());
        let is_met = measured.parse::<f64>()? <= goal;
        add(name, &format!("{goal:.digits$}"), measured, is_met);
    }
    let steps: Vec<&Row> =
        results.rows.iter().filter(|row| row.program == OURS && row.figures.contains_key(SANDBOXES)).collect();
    let (first, last) = (steps.first().context("no density")?, steps.last().context("no density")?);
    let among = |row: &Row| Ok::<_, anyhow::Error>(row.get(SANDBOXES)?.median());
    let among = format!("of a sandbox among {}, of one among {}", among(last)?, among(first)?);
    let ratio = |name| Ok::<_, anyhow::Error>(last.get(name)?.median() / first.get(name)?.median());
    // To five in a hundred, for one page is half of that where few share it.
    let charged = ratio(CHARGED_EACH)?;
    add(&format!("memory charged {among}"), "1.05", format!("{charged:.2}"), charged <= 1.05);
    // Times have no such bound: the middle halves may have no less than something in common.
    let is_within = match (last.get(START_EACH)?, first.get(START_EACH)?) {
        (Figure::Spread([lower, ..]), Figure::Spread([.., upper])) => lower <= upper,
        _ => false,
    };
    add(&format!("start {among}"), "the noise", format!("{:.2}", ratio(START_EACH)?), is_within);
    Ok(table)
}
