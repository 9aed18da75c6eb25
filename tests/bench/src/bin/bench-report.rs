// SPDX-License-Identifier: GPL-2.0-only
//! Turns what `composefs-bench` printed into a table on standard output, JSON and a plot.
//!
//! `bench-report FIGURES [--json FILE] [--plot FILE] [--earlier FIGURES]`: with earlier figures it
//! shows how far each differs from them, and fails if counts of instructions do by more than 1 %.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use composefs_bench::figure::{Figures, Row};
use composefs_bench::goals::{self, REQUEST_BYTES};
use composefs_bench::plot;
use composefs_bench::system::System;

/// How far two runs may differ.
const TOLERANCE: f64 = 0.01;

fn main() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let figures = read(&arguments.next().context("which figures?")?)?;
    let mut alike = true;
    table(&figures);
    while let Some(option) = arguments.next() {
        let path = arguments.next().with_context(|| format!("{option}?"))?;
        match &*option {
            "--json" => write(&path, &figures.to_json())?,
            "--plot" => write(&path, &plot::svg(&figures))?,
            "--earlier" => alike = compare(&read(&path)?, &figures),
            _ => bail!("{option}?"),
        }
    }
    Ok(if alike {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(path: &str) -> Result<Figures> {
    Figures::parse(&fs::read_to_string(path).with_context(|| path.to_owned())?)
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(Path::new(path), text).with_context(|| path.to_owned())
}

fn table(figures: &Figures) {
    println!(
        "{:<24} {:>12} {:>13} {:>12} {:>12}  {:<15} {:<15} unit",
        "operation", "composefs", "overlay+erofs", "erofs", "ext4", "/overlay goal", "/ext4 goal"
    );
    let mut score = Score::default();
    for (operation, row) in &figures.rows {
        let goal = goals::of(operation);
        let mut judged = |other, most: Option<f64>| match row.ratio(other) {
            None => String::from("-"),
            Some(ratio) => format!("{ratio:.3}{}", score.at_most(ratio, most)),
        };
        let incumbent = judged(System::Overlay, goal.and_then(|goal| goal.incumbent));
        let ext4 = judged(System::Ext4, goal.and_then(|goal| goal.ext4));
        println!(
            "{operation:<24} {:>12} {:>13} {:>12} {:>12}  {incumbent:<15} {ext4:<15} {}",
            value(row, System::Composefs),
            value(row, System::Overlay),
            value(row, System::Erofs),
            value(row, System::Ext4),
            row.unit
        );
    }
    for pair in &PAIRS {
        pair.table(figures, &mut score);
    }
    if let Some(bytes) = goals::request_bytes(figures) {
        let verdict = score.judge(bytes >= REQUEST_BYTES);
        println!(
            "bytes of a request of the cold walk: {bytes:.0}, goal {REQUEST_BYTES:.0} {verdict}"
        );
    }
    println!("{} goals met, {} missed", score.met, score.missed);
}

/// How many goals were met.
#[derive(Default)]
struct Score {
    met: usize,
    missed: usize,
}

impl Score {
    /// Counts a goal; the word for it.
    fn judge(&mut self, is_met: bool) -> &'static str {
        if is_met {
            self.met += 1;
            "ok"
        } else {
            self.missed += 1;
            "MISS"
        }
    }

    /// Counts a ratio that is to be no more than `most`; what the table says after it.
    fn at_most(&mut self, ratio: f64, most: Option<f64>) -> String {
        most.map_or_else(String::new, |most| {
            format!(" {most:.2} {}", self.judge(ratio <= most))
        })
    }
}

/// Two systems beside each other, and what the first may cost.
struct Pair {
    heading: &'static str,
    system: System,
    reference: System,
    goals: &'static [(&'static str, f64)],
    /// What is shown besides, and by what name.
    besides: (System, &'static str),
}

const PAIRS: [Pair; 4] = [
    Pair {
        heading: "without root",
        system: System::Service,
        reference: System::Composefs,
        goals: goals::BY_SERVICE,
        besides: (System::Fuse, "fuse/service"),
    },
    Pair {
        heading: "as root maps owners",
        system: System::Service,
        reference: System::Mapped,
        goals: goals::BY_SERVICE,
        besides: (System::Composefs, "root/service"),
    },
    Pair {
        heading: "what is here, lazily",
        system: System::Lazy,
        reference: System::Composefs,
        goals: goals::LAZILY,
        besides: (System::Overlay, "1.0.8/ours"),
    },
    Pair {
        heading: "beside data inside",
        system: System::Composefs,
        reference: System::ErofsShared,
        goals: goals::BESIDE_DATA,
        besides: (System::ErofsData, "unshared/ours"),
    },
];

impl Pair {
    /// Prints a table.
    fn table(&self, figures: &Figures, score: &mut Score) {
        let (other, factor) = self.besides;
        println!(
            "\n{:<24} {:>14} {:>14} {:>14}  {:<15} {factor:<13}",
            self.heading,
            self.reference.name(),
            self.system.name(),
            other.name(),
            "ratio, goal",
        );
        for (operation, row) in &figures.rows {
            let Some(ratio) = row.ratio_of(self.system, self.reference) else {
                continue;
            };
            let goal = self.goals.iter().find(|(name, _)| name == operation);
            let verdict = score.at_most(ratio, goal.map(|(_, most)| *most));
            let besides = row.ratio_of(other, self.system);
            println!(
                "{operation:<24} {:>14} {:>14} {:>14}  {:<15} {}",
                value(row, self.reference),
                value(row, self.system),
                value(row, other),
                format!("{ratio:.3}{verdict}"),
                besides.map_or_else(|| "-".to_owned(), |besides| format!("{besides:.2}"))
            );
        }
    }
}

fn value(row: &Row, system: System) -> String {
    let value = row.values.get(&system);
    value.map_or_else(|| "-".to_owned(), |value| format!("{value}"))
}

/// Prints how far figures differ from earlier ones.
fn compare(earlier: &Figures, now: &Figures) -> bool {
    let (mut alike, mut count, mut worst) = (true, 0, 0.0_f64);
    for (operation, row) in &now.rows {
        for (system, value) in &row.values {
            let before = earlier
                .get(operation)
                .and_then(|row| row.values.get(system));
            let Some(before) = before.filter(|before| **before != 0.0) else {
                continue;
            };
            let change = value / before - 1.0;
            count += 1;
            worst = worst.max(change.abs());
            if change.abs() > TOLERANCE {
                let name = system.name();
                println!(
                    "differs: {operation} {name}: {before} then {value} ({:+.2} %)",
                    change * 100.0
                );
                alike &= row.unit != "instructions";
            }
        }
    }
    println!(
        "{count} figures of two runs, the worst differs by {:.2} %",
        worst * 100.0
    );
    alike
}
