//! What was measured, as bench/results.toml holds it. Everything shown is made from this.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
pub struct Results {
    /// When and where, as a sentence.
    pub circumstances: String,
    /// What is not there, and why, a sentence each.
    pub missing: Vec<String>,
    pub rows: Vec<Row>,
}

/// A program.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub program: String,
    pub figures: BTreeMap<String, Figure>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Figure {
    Number(f64),
    /// The lower quartile, the median and the upper quartile.
    Spread([f64; 3]),
}

// What tables and pictures call the figures.
pub const FILE: &str = "file, B";
pub const LAYER: &str = "layer, compressed, B";
pub const PULLED: &str = "one node pulls, B";
pub const EXEC: &str = "exec to asleep, µs";
pub const EXEC_RATIO: &str = "exec to asleep / baseline";
pub const TERM: &str = "SIGTERM to gone, µs";
pub const TERM_RATIO: &str = "SIGTERM to gone / baseline";
/// By the memory cgroup, as averages of batches.
pub const CHARGED: &str = "memory charged, KiB";
pub const CHARGED_RATIO: &str = "memory charged / baseline";
/// On an idle machine, and on one where its CPU share is the smallest.
pub const ORPHANS: [&str; 2] = ["orphans", "orphans, CPU-starved"];
pub const WAKE_UPS: [&str; 2] = ["wake-ups by orphans", "wake-ups by orphans, CPU-starved"];
pub const TICKS: [&str; 2] = ["CPU ticks", "CPU ticks, CPU-starved"];
pub const ZOMBIES: [&str; 2] = ["most zombies at once", "most zombies, CPU-starved"];

impl Results {
    pub fn row(&self, program: &str) -> Result<&Row> {
        self.rows.iter().find(|row| row.program == program).with_context(|| format!("{program} was not measured"))
    }
}

impl Row {
    pub fn get(&self, name: &str) -> Result<Figure> {
        self.figures.get(name).copied().with_context(|| format!("{name} of {} was not measured", self.program))
    }
}

impl Figure {
    pub fn number(number: u64) -> Self {
        Self::Number(number as f64)
    }

    /// Interpolated between two samples; there has to be at least one. (statrs would bring 16 packages.)
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let quantile = |part: f64| {
            let rank = part * (samples.len() - 1) as f64;
            let (below, above) = (samples[rank.floor() as usize], samples[rank.ceil() as usize]);
            below + (above - below) * rank.fract()
        };
        Self::Spread([0.25, 0.5, 0.75].map(quantile))
    }

    pub fn median(self) -> f64 {
        match self {
            Self::Number(number) | Self::Spread([_, number, _]) => number,
        }
    }

    pub fn show(self, digits: usize) -> String {
        match self {
            Self::Number(number) => format!("{number:.digits$}"),
            Self::Spread([lower, median, upper]) => format!("{median:.digits$} ({lower:.digits$}–{upper:.digits$})"),
        }
    }
}
