//! What the figures come to on a node, in a cluster and at the edge: products of what was measured and of the inputs
//! named here, nothing else.

use super::peers::{C_GLIBC, FLOOR, OURS};
use super::results::{Results, Row};
use super::table::circumstances;
use crate::output::table_of_numbers;
use anyhow::Result;
use indicatif::HumanBytes;

struct Fleet {
    name: &'static str,
    nodes: u64,
    pods: u64,
}

const FLEETS: [Fleet; 4] = [
    Fleet { name: "a node of 110 Pods", nodes: 1, pods: 110 },
    Fleet { name: "a node of 500 Pods", nodes: 1, pods: 500 },
    Fleet { name: "a cluster of 5,000 nodes, 110 Pods each", nodes: 5_000, pods: 110 },
    Fleet { name: "100,000 edge nodes on a metered link, 10 Pods each", nodes: 100_000, pods: 10 },
];

type Value = fn(&Row) -> f64;

pub fn page(results: &Results) -> Result<String> {
    let (ours, theirs) = (results.row(OURS)?, results.row(C_GLIBC)?);
    let mut inputs = table_of_numbers(["", OURS, C_GLIBC]);
    let input: [(&str, Value); 2] = [
        ("one node pulls, B", |row| row.pulled_bytes as f64),
        ("memory charged for each sandbox, B", |row| row.memory.charged.median),
    ];
    for (name, value) in input {
        inputs.add_row([name.to_owned(), format!("{:.0}", value(ours)), format!("{:.0}", value(theirs))]);
    }
    let [our_ratio, their_ratio] = [ours, theirs].map(|row| format!("{:.2}", row.exec_to_asleep.ratio.median));
    inputs.add_row(["exec to asleep, of the floor's".to_owned(), our_ratio, their_ratio]);
    let floor = results.row(FLOOR)?.exec_to_asleep.microseconds.median;
    inputs.add_row(["the floor's, µs".to_owned(), format!("{floor:.1}"), format!("{floor:.1}")]);
    let mut products = table_of_numbers(["", "program", "bytes pulled", "memory", "CPU time to start all"]);
    for fleet in FLEETS {
        for row in [ours, theirs] {
            let (nodes, pods) = (fleet.nodes as f64, (fleet.nodes * fleet.pods) as f64);
            products.add_row([
                fleet.name.to_owned(),
                row.name.clone(),
                bytes(nodes * row.pulled_bytes as f64),
                bytes(pods * row.memory.charged.median),
                seconds(pods * row.exec_to_asleep.ratio.median * floor / 1e6),
            ]);
        }
    }
    Ok(format!(
        "# A fleet, on paper\n\n\
         Written by `cargo xtask bench` from results.json: products, not measurements. The pause of the fleet is this \
         one, or one in C linked with glibc, as Kubernetes' is, in the same kind of image, for one platform.\n\n\
         ## What was measured\n\n{inputs}\n\n{}\n\n\
         ## What it comes to\n\n\
         Each node pulls the image once. Each Pod has one sandbox, which costs its memory as long as the Pod lives, \
         and its time from exec to asleep once. What else a Pod costs is the same with either.\n\n{products}\n",
        circumstances(results),
    ))
}

fn bytes(bytes: f64) -> String {
    HumanBytes(bytes as u64).to_string()
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}
