//! What was measured as a picture, for light and for dark pages.

use crate::peers::{BASELINE, OURS};
use crate::results::*;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A theme's name, and its colours: of text, of this program, of the baseline, of the others.
pub type Theme = (&'static str, [RGBColor; 4]);

#[rustfmt::skip]
pub const THEMES: [Theme; 2] = [
    ("light", [RGBColor(31, 35, 40), RGBColor(9, 105, 218), RGBColor(26, 127, 55), RGBColor(140, 149, 159)]),
    ("dark", [RGBColor(230, 237, 243), RGBColor(88, 166, 255), RGBColor(63, 185, 80), RGBColor(110, 118, 129)]),
];

/// With the digits behind the point, and whether on a logarithmic scale: what is pulled differs by so much that on another
/// the shortest could not be seen.
const PANELS: [(&str, &str, usize, bool); 4] = [
    ("One node pulls, bytes, on a logarithmic scale", PULLED, 0, true),
    ("Exec to asleep, times the baseline's", EXEC_RATIO, 2, false),
    ("Memory charged for each, KiB", CHARGED, 1, false),
    ("Wake-ups by orphans", WAKE_UPS[0], 0, false),
];

/// Four panels of bars, in SVG.
pub fn draw(results: &Results, (_, [ink, ours, baseline, others]): &Theme) -> Result<String> {
    const BAR: usize = 22;
    let rows = &results.rows;
    let text = |size, side| ("sans-serif", size).into_font().color(ink).pos(Pos::new(side, VPos::Center));
    let colour = |program: &str| match program {
        OURS => ours,
        BASELINE => baseline,
        _ => others,
    };
    let mut svg = String::new();
    let draw = |svg| -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, (960, 2 * (60 + BAR * rows.len()) as u32)).into_drawing_area();
        for ((title, name, digits, is_logarithmic), area) in PANELS.iter().zip(root.split_evenly((2, 2))) {
            area.draw(&Text::new(*title, (150, 22), text(16, HPos::Left)))?;
            let values = rows.iter().map(|row| Ok(row.get(name)?.median())).collect::<Result<Vec<_>>>()?;
            let length = |value: f64| if *is_logarithmic { (value + 1.0).log10() } else { value };
            let longest = values.iter().map(|value| length(*value)).fold(1.0, f64::max);
            for (index, (row, value)) in rows.iter().zip(&values).enumerate() {
                let middle = 44 + (index * BAR) as i32;
                let end = 150 + (length(*value) / longest * 240.0) as i32;
                area.draw(&Rectangle::new([(150, middle - 8), (end, middle + 8)], colour(&row.program).filled()))?;
                area.draw(&Text::new(row.program.clone(), (142, middle), text(13, HPos::Right)))?;
                let reaps = row.get(ZOMBIES[0])?.median() < row.get(ORPHANS[0])?.median();
                let is_none = *name == WAKE_UPS[0] && !reaps;
                let label = if is_none { "0, for it reaps none".into() } else { format!("{value:.digits$}") };
                area.draw(&Text::new(label, (end + 6, middle), text(13, HPos::Left)))?;
            }
        }
        Ok(root.present()?)
    };
    draw(&mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}
