//! What was measured as a picture, for light and for dark pages.

use crate::peers::{BASELINE, OURS};
use crate::results::*;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub struct Theme {
    pub name: &'static str,
    ink: RGBColor,
    ours: RGBColor,
    baseline: RGBColor,
    others: RGBColor,
}

pub const THEMES: [Theme; 2] = [
    Theme {
        name: "light",
        ink: RGBColor(0x1f, 0x23, 0x28),
        ours: RGBColor(0x09, 0x69, 0xda),
        baseline: RGBColor(0x1a, 0x7f, 0x37),
        others: RGBColor(0x8c, 0x95, 0x9f),
    },
    Theme {
        name: "dark",
        ink: RGBColor(0xe6, 0xed, 0xf3),
        ours: RGBColor(0x58, 0xa6, 0xff),
        baseline: RGBColor(0x3f, 0xb9, 0x50),
        others: RGBColor(0x6e, 0x76, 0x81),
    },
];

impl Theme {
    fn of(&self, name: &str) -> RGBColor {
        match name {
            OURS => self.ours,
            BASELINE => self.baseline,
            _ => self.others,
        }
    }

    fn text(&self, size: i32, horizontal: HPos) -> TextStyle<'static> {
        ("sans-serif", size).into_font().color(&self.ink).pos(Pos::new(horizontal, VPos::Center))
    }
}

/// With the digits behind the point, and whether on a logarithmic scale: what is pulled differs by so much that on another
/// the shortest could not be seen.
const PANELS: [(&str, &str, usize, bool); 4] = [
    ("One node pulls, bytes, on a logarithmic scale", PULLED, 0, true),
    ("Exec to asleep, times the baseline's", EXEC_RATIO, 2, false),
    ("Memory charged for each, KiB", CHARGED, 1, false),
    ("Wake-ups by orphans", WAKE_UPS[0], 0, false),
];

/// Four panels of bars, in SVG.
pub fn draw(results: &Results, theme: &Theme) -> Result<String> {
    const BAR: usize = 22;
    let rows = &results.rows;
    let mut svg = String::new();
    let draw = |svg| -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, (960, 2 * (60 + BAR * rows.len()) as u32)).into_drawing_area();
        for ((title, name, digits, is_logarithmic), area) in PANELS.iter().zip(root.split_evenly((2, 2))) {
            area.draw(&Text::new(*title, (150, 22), theme.text(16, HPos::Left)))?;
            let values = rows.iter().map(|row| Ok(row.get(name)?.median())).collect::<Result<Vec<_>>>()?;
            let length = |value: f64| if *is_logarithmic { (value + 1.0).log10() } else { value };
            let longest = values.iter().map(|value| length(*value)).fold(1.0, f64::max);
            for (index, (row, value)) in rows.iter().zip(&values).enumerate() {
                let middle = 44 + (index * BAR) as i32;
                let end = 150 + (length(*value) / longest * 240.0) as i32;
                area.draw(&Rectangle::new([(150, middle - 8), (end, middle + 8)], theme.of(&row.program).filled()))?;
                area.draw(&Text::new(row.program.clone(), (142, middle), theme.text(13, HPos::Right)))?;
                let reaps = row.get(ZOMBIES[0])?.median() < row.get(ORPHANS[0])?.median();
                let is_none = *name == WAKE_UPS[0] && !reaps;
                let label = if is_none { "0, for it reaps none".into() } else { format!("{value:.digits$}") };
                area.draw(&Text::new(label, (end + 6, middle), theme.text(13, HPos::Left)))?;
            }
        }
        Ok(root.present()?)
    };
    draw(&mut svg).map_err(|error| anyhow!("cannot draw: {error}"))?;
    Ok(svg)
}
