//! What was measured, as bench/results.json holds it. Everything shown is made from this.

use super::peers::Missing;
use anyhow::{Context, Result};
use nix::sys::utsname::uname;
use procfs::{CpuInfo, Current, Meminfo};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

#[derive(Serialize, Deserialize)]
pub struct Results {
    pub date: String,
    /// Whether it was a smoke test, not a measurement.
    pub quick: bool,
    pub machine: Machine,
    pub orphans: u64,
    pub rows: Vec<Row>,
    pub missing: Vec<Missing>,
    pub density: Vec<Density>,
}

#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub platform: String,
    pub cpu: String,
    pub cpus: usize,
    pub memory_bytes: u64,
    pub kernel: String,
}

/// One program.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub arguments: Vec<String>,
    pub file_bytes: u64,
    pub layer_bytes: u64,
    /// What a node downloads of an image for one platform: index, manifest, config and layer.
    pub pulled_bytes: u64,
    pub system_calls: u64,
    pub page_faults: u64,
    pub instructions: u64,
    pub exec_to_asleep: Timing,
    pub term_to_gone: Timing,
    pub memory: Memory,
    pub reaping: Reaping,
    pub cpu_starved: Reaping,
}

#[derive(Serialize, Deserialize)]
pub struct Timing {
    pub microseconds: Spread,
    /// Of each round to the baseline's right before it.
    pub ratio: Spread,
    pub rounds: usize,
    /// In which the program had not fallen asleep when the CPU was handed back.
    pub discarded: usize,
}

/// The median, and the quartiles around it.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Spread {
    pub lower: f64,
    pub median: f64,
    pub upper: f64,
}

impl Spread {
    /// Interpolated between two samples; there has to be at least one. (statrs would bring 16 packages.)
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let quantile = |part: f64| {
            let rank = part * (samples.len() - 1) as f64;
            let (below, above) = (samples[rank.floor() as usize], samples[rank.ceil() as usize]);
            below + (above - below) * rank.fract()
        };
        Self { lower: quantile(0.25), median: quantile(0.5), upper: quantile(0.75) }
    }

    pub fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { lower: change(self.lower), median: change(self.median), upper: change(self.upper) }
    }
}

/// Of one sandbox, in bytes: of the process and its PID namespace.
#[derive(Serialize, Deserialize)]
pub struct Memory {
    pub batches: usize,
    /// How many sandboxes are in each.
    pub batch: usize,
    /// What the memory cgroup is charged, as averages of batches.
    pub charged: Spread,
    /// Of each batch to the baseline's right before it.
    pub ratio: Spread,
    pub resident: f64,
    /// Mapped from files: code, and data if there are any.
    pub resident_files: f64,
    pub resident_stack: f64,
    /// Heap, vDSO and whatever else is neither.
    pub resident_other: f64,
    pub proportional: f64,
    pub page_tables: Spread,
}

/// What orphans cost their reaper.
#[derive(Serialize, Deserialize)]
pub struct Reaping {
    pub orphans: u64,
    /// Whether there would have been more, had it reaped them.
    pub stopped: bool,
    pub wake_ups: u64,
    pub cpu_ticks: u64,
    pub most_zombies: u64,
}

/// How the cost of a sandbox changes with their number.
#[derive(Serialize, Deserialize)]
pub struct Density {
    pub name: String,
    pub steps: Vec<Step>,
    /// Why there are no more steps, if there should have been.
    pub stopped: Option<String>,
}

/// Each sandbox with its own PID, network, IPC and UTS namespaces.
#[derive(Serialize, Deserialize)]
pub struct Step {
    pub sandboxes: usize,
    /// Of one sandbox, charged to the memory cgroup, as averages of a tenth of the step each.
    pub charged_bytes: Spread,
    /// Of one sandbox, by what the machine has less, where there are enough of them to tell.
    pub used_bytes: Option<f64>,
    pub start_microseconds: Spread,
}

impl Results {
    pub fn row(&self, name: &str) -> Result<&Row> {
        self.rows.iter().find(|row| row.name == name).with_context(|| format!("{name} was not measured"))
    }
}

impl Machine {
    pub fn this(platform: &str) -> Result<Self> {
        let cpu = CpuInfo::current()?;
        let kernel = uname()?;
        Ok(Self {
            platform: platform.to_owned(),
            // Not every architecture has it.
            cpu: cpu.model_name(0).unwrap_or("unknown").to_owned(),
            cpus: cpu.num_cores(),
            memory_bytes: Meminfo::current()?.mem_total,
            kernel: kernel.release().to_string_lossy().into_owned(),
        })
    }
}

pub fn now() -> String {
    let seconds = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    seconds.split('T').next().unwrap_or_default().to_owned()
}
