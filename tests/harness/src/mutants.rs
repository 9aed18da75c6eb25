// SPDX-License-Identifier: GPL-2.0-only
//! Whether the tests notice that the driver is broken: each patch of `tests/mutants` breaks it in
//! one small way, and names the test that must fail.

mod build;
mod guest;
mod patch;
mod points;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{bail, Result};
use clap::Args;

use crate::artifact::remove_tree;
use crate::suite::Suite;
use crate::tap::Counts;
use crate::{note, payload, place};
use guest::Run;
use patch::Mutant;
use points::Outcome;

/// Breaks the driver in many small ways, and wants each of them noticed by the test that is said
/// to notice it
///
/// The breakages are the patches of tests/mutants. Each is applied to a copy of the driver, which
/// is built; a guest runs the point that must fail with that module, after all these points were
/// run with the driver as it is. Passed is what was noticed. Failed is what was not, what does not
/// apply or build, and what hangs. Whole outputs are in build/mutants.
#[derive(Args, Default)]
pub struct Options {
    /// Only those that security rests on
    #[arg(long, conflicts_with = "names")]
    pub quick: bool,
    /// Only these: files of tests/mutants, less `.patch`
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// The suite whose kernel they run on.
const SUITE: Suite = Suite::Trixie;

/// The driver as it is, among the names of mutants.
const UNBROKEN: &str = "unbroken";

/// Tries what was asked for; whether all of it was noticed.
pub fn run(options: &Options) -> Result<bool> {
    let counts = counts(options)?;
    println!("{counts}");
    Ok(counts.is_good())
}

/// Tries what was asked for.
pub fn counts(options: &Options) -> Result<Counts> {
    let mutants = chosen(options)?;
    let logs = place::build("mutants")?;
    fs::create_dir_all(&logs)?;
    for entry in fs::read_dir(&logs)? {
        let path = entry?.path();
        if !path.ends_with(build::KEPT) {
            remove_tree(&path)?;
        }
    }
    let built = build::all(&mutants, &logs)?;

    let payload = logs.join("payload");
    payload::make(&payload::Options {
        tests: true,
        bench: false,
        suite: SUITE,
        module: Some(built.unbroken()?),
        part: None,
        dir: payload.clone(),
    })?;
    built.copy_to(&payload)?;

    let runs = runs(&mutants, &built);
    note!(
        "{} mutants: running (usually 20 seconds each)",
        mutants.len()
    );
    let outcomes = guest::run_all(&runs, &payload, &logs)?;
    remove_tree(&payload)?;

    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for mutant in &mutants {
        match verdict(mutant, &built, &outcomes) {
            Verdict::Noticed => {
                counts.passed += 1;
                println!("{}: noticed by {}", mutant.name, mutant.expected());
            }
            Verdict::Skipped(why) => {
                counts.skipped += 1;
                println!("{}: SKIPPED: {why}", mutant.name);
            }
            Verdict::Failed(why) => {
                counts.failed += 1;
                let line = format!("{}: FAILED: {why}", mutant.name);
                println!("{line}");
                failures.push(line);
            }
        }
    }
    for complaint in outcomes.complaints {
        counts.failed += 1;
        failures.push(format!("{UNBROKEN}: FAILED: {complaint}"));
    }
    for line in failures {
        println!("{line}");
    }
    Ok(counts)
}

fn chosen(options: &Options) -> Result<Vec<Mutant>> {
    let mut mutants = patch::all()?;
    for name in &options.names {
        if !mutants.iter().any(|mutant| mutant.name == *name) {
            bail!("mutants: no tests/mutants/{name}.patch");
        }
    }
    if options.quick {
        mutants.retain(|mutant| mutant.is_quick);
    } else if !options.names.is_empty() {
        mutants.retain(|mutant| options.names.contains(&mutant.name));
    }
    Ok(mutants)
}

/// What guests run: the points that must fail, each time in a program that does nothing else; at first
/// with the driver as it is, the last point first, so that one that counts on those before it fails.
fn runs(mutants: &[Mutant], built: &build::Built) -> Vec<Run> {
    let mut wanted: BTreeMap<&String, BTreeSet<u64>> = BTreeMap::new();
    let mut broken = Vec::new();
    for mutant in mutants.iter().filter(|mutant| built.has(mutant)) {
        for (program, points) in &mutant.fails {
            wanted.entry(program).or_default().extend(points);
            let points = points.iter().copied().collect();
            broken.push(Run::new(&mutant.name, program, points));
        }
    }
    let mut runs: Vec<_> = wanted
        .into_iter()
        .map(|(program, points)| {
            let points = points.into_iter().rev().collect();
            Run::new(UNBROKEN, program, points)
        })
        .collect();
    runs.extend(broken);
    runs
}

enum Verdict {
    Noticed,
    Skipped(String),
    Failed(String),
}

fn verdict(mutant: &Mutant, built: &build::Built, outcomes: &guest::Outcomes) -> Verdict {
    if let Some(why) = built.failure(mutant) {
        return Verdict::Failed(why.into());
    }
    for (program, points) in &mutant.fails {
        let before = outcomes.of(UNBROKEN, program);
        for point in points {
            if before.skipped.contains(point) {
                return Verdict::Skipped(format!("{program} {point} cannot be tried here"));
            }
            if !before.passed.contains(point) {
                let why = before.why_not(*point);
                return Verdict::Failed(format!(
                    "{program} {point}: {why} with the driver as it is"
                ));
            }
        }
        let after = outcomes.of(&mutant.name, program);
        if let Some(problem) = unnoticed(program, points, &after) {
            return Verdict::Failed(problem);
        }
    }
    Verdict::Noticed
}

/// Why it does not count as noticed.
fn unnoticed(program: &str, points: &BTreeSet<u64>, after: &Outcome) -> Option<String> {
    if let Some(problem) = &after.problem {
        return Some(format!("{program}: {problem}"));
    }
    let point = points.iter().find(|point| !after.failed.contains(point))?;
    let others = match after.failed.len() {
        0 => String::new(),
        _ => format!(", unlike {}", points::list(&after.failed)),
    };
    Some(format!(
        "survives: {program} {point} {}{others}",
        after.why_not(*point)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tap: &str) -> Option<String> {
        let mut after = Outcome::default();
        tap.lines().for_each(|line| after.line(line));
        unnoticed("t_x", &BTreeSet::from([1, 3]), &after)
    }

    #[test]
    fn all_points_have_to_fail() {
        assert_eq!(told("not ok 1 a\nok 2 b\nnot ok 3 c\n"), None);
        assert_eq!(
            told("not ok 1 a\nnot ok 2 b\nok 3 c\n").unwrap(),
            "survives: t_x 3 passes, unlike 1, 2"
        );
        assert_eq!(told("ok 1 a\nok 3 c\n").unwrap(), "survives: t_x 1 passes");
        assert_eq!(
            told("not ok 1 a\n").unwrap(),
            "survives: t_x 3 is not there, unlike 1"
        );
    }

    #[test]
    fn a_program_that_could_not_begin_notices_nothing() {
        let problem = told("not ok 1 a\n# setup failed: no disk\nnot ok 3 c\n").unwrap();
        assert_eq!(problem, "t_x: setup failed: no disk");
    }
}
