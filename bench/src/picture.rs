//! What was measured as pictures, for light and for dark pages.

use crate::peers::{BASELINE, OURS};
use crate::results::*;
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// With the digits behind the point, and whether on a logarithmic scale: what is pulled differs by so much that on another
/// the shortest could not be seen.
const PANELS: [(&str, &str, usize, bool); 4] = [
    ("One node pulls, bytes, on a logarithmic scale", PULLED, 0, true),
    ("Exec to asleep, times the baseline's", EXEC_RATIO, 2, false),
    ("Memory charged for each, KiB", CHARGED, 1, false),
    ("Wake-ups by orphans", WAKE_UPS[0], 0, false),
];

/// Four panels of bars.
pub fn programs(results: &Results, theme: &Theme) -> Result<String> {
    const BAR: usize = 22;
    let rows: Vec<&Row> = results.rows.iter().filter(|row| row.figures.contains_key(FILE)).collect();
    draw((960, 2 * (60 + BAR * rows.len()) as u32), |root| {
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
        Ok(())
    })
}

/// Memory and time for each sandbox, as their number grows.
pub fn density(results: &Results, theme: &Theme) -> Result<String> {
    draw((960, 320), |root| {
        let (left, right) = root.split_horizontally(480);
        lines(&left, theme, results, "Memory charged for each sandbox, KiB", CHARGED_EACH)?;
        lines(&right, theme, results, "Start of a sandbox, µs", START_EACH)
    })
}

fn lines(
    area: &Area,
    theme: &Theme,
    results: &Results,
    title: &str,
    name: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<&Row> = results.rows.iter().filter(|row| row.figures.contains_key(SANDBOXES)).collect();
    let point = |row: &&Row| Ok::<_, anyhow::Error>((row.get(SANDBOXES)?.median(), row.get(name)?.median()));
    let points = rows.iter().map(point).collect::<Result<Vec<_>>>()?;
    let counts: Vec<f64> = points.iter().map(|(count, _)| *count).collect();
    let (fewest, most) = (counts.iter().copied().fold(f64::MAX, f64::min), counts.iter().copied().fold(1.0, f64::max));
    let highest = points.iter().map(|(_, value)| *value).fold(1.0, f64::max) * 1.2;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_right(90)
        .caption(title, theme.text(16, HPos::Left))
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d((fewest..most).log_scale().with_key_points(counts), 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(theme.ink)
        .label_style(theme.text(13, HPos::Center))
        .x_desc("sandboxes")
        .x_label_formatter(&|count| format!("{count:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    let mut names = Vec::new();
    for of_one in rows.chunk_by(|one, other| one.program == other.program) {
        let colour = theme.of(&of_one[0].program);
        let points = of_one.iter().map(point).collect::<Result<Vec<_>>>()?;
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(PointSeries::<_, _, Circle<_, _>, _>::new(points.iter().copied(), 4, colour.filled()))?;
        if let Some(last) = points.last() {
            let (x, y) = chart.backend_coord(last);
            names.push((y, x, &of_one[0].program, colour));
        }
    }
    // Beside where its line ends, but below the last name.
    names.sort_by_key(|&(y, ..)| y);
    let (left, top) = area.get_base_pixel();
    let mut highest = 0;
    for (y, x, name, colour) in names {
        let y = (y - top).max(highest);
        area.draw(&Text::new(name.clone(), (x - left + 10, y), theme.text(13, HPos::Left).color(&colour)))?;
        highest = y + 15;
    }
    Ok(())
}

fn draw(size: (u32, u32), draw: impl FnOnce(&Area) -> Result<(), Box<dyn std::error::Error>>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&root).and_then(|()| Ok(root.present()?)).map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    Ok(svg)
}
