//! What was measured as pictures, for light and for dark pages.

use super::peers::{BASELINE, OURS};
use super::results::{Density, Results, Row, Step};
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
type Value = fn(&Row) -> f64;

/// With the digits behind the point.
const PANELS: [(&str, Value, usize); 4] = [
    (PULLED, |row| row.pulled_bytes as f64, 0),
    ("Exec to asleep, times the baseline's", |row| row.exec_to_asleep.ratio.median, 2),
    ("Memory charged for each, KiB", |row| row.memory.charged.median / 1024.0, 1),
    (WAKE_UPS, |row| row.reaping.wake_ups as f64, 0),
];
/// They differ by so much that on another scale the shortest could not be seen.
const PULLED: &str = "One node pulls, bytes, on a logarithmic scale";
const WAKE_UPS: &str = "Wake-ups by orphans";

/// Four panels of bars.
pub fn programs(results: &Results, theme: &Theme) -> Result<String> {
    const BAR: usize = 22;
    let height = 2 * (60 + BAR * results.rows.len());
    draw((960, height as u32), |root| {
        for ((title, value, digits), area) in PANELS.iter().zip(root.split_evenly((2, 2))) {
            area.draw(&Text::new(*title, (150, 22), theme.text(16, HPos::Left)))?;
            let length = |value: f64| if *title == PULLED { (value + 1.0).log10() } else { value };
            let longest = results.rows.iter().map(|row| length(value(row))).fold(1.0, f64::max);
            for (index, row) in results.rows.iter().enumerate() {
                let middle = 44 + (index * BAR) as i32;
                let end = 150 + (length(value(row)) / longest * 240.0) as i32;
                area.draw(&Rectangle::new([(150, middle - 8), (end, middle + 8)], theme.of(&row.name).filled()))?;
                area.draw(&Text::new(row.name.clone(), (142, middle), theme.text(13, HPos::Right)))?;
                let reaps_none = *title == WAKE_UPS && row.reaping.most_zombies >= row.reaping.orphans;
                let label = if reaps_none { "0, for it reaps none".into() } else { format!("{:.digits$}", value(row)) };
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
        lines(&left, theme, &results.density, "Memory charged for each sandbox, KiB", |step| {
            step.charged_bytes.median / 1024.0
        })?;
        lines(&right, theme, &results.density, "Start of a sandbox, µs", |step| step.start_microseconds.median)
    })
}

fn lines(
    area: &Area,
    theme: &Theme,
    density: &[Density],
    title: &str,
    value: fn(&Step) -> f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let steps = || density.iter().flat_map(|density| &density.steps);
    let counts: Vec<f64> = steps().map(|step| step.sandboxes as f64).collect();
    let (fewest, most) = (counts.iter().copied().fold(f64::MAX, f64::min), counts.iter().copied().fold(1.0, f64::max));
    let highest = steps().map(value).fold(1.0, f64::max) * 1.2;
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
    for one in density {
        let colour = theme.of(&one.name);
        let points: Vec<_> = one.steps.iter().map(|step| (step.sandboxes as f64, value(step))).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(PointSeries::<_, _, Circle<_, _>, _>::new(points.iter().copied(), 4, colour.filled()))?;
        if let Some(last) = points.last() {
            let (x, y) = chart.backend_coord(last);
            names.push((y, x, &one.name, colour));
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
