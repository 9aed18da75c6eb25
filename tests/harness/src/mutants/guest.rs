// SPDX-License-Identifier: GPL-2.0-only
//! Test programs in a guest, each with the module of a mutant: as many as one guest can take.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::points::Outcome;
use super::SUITE;
use crate::{note, qemu, vm};

/// How long one program may take, and one guest, in seconds.
const LIMIT: u32 = 150;
const WHOLE: u64 = 7200;

/// A test program that is run with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    mutant: String,
    program: String,
    /// What of it, and in which order.
    points: Vec<u64>,
}

impl Run {
    pub fn new(mutant: &str, program: &str, points: Vec<u64>) -> Self {
        Self {
            mutant: mutant.into(),
            program: program.into(),
            points,
        }
    }

    /// A word for `scripts/in-guest/run-mutants`.
    fn word(&self) -> OsString {
        let points: Vec<_> = self.points.iter().map(u64::to_string).collect();
        format!("{} {} {}", self.mutant, self.program, points.join(",")).into()
    }
}

/// What became of all runs.
#[derive(Default)]
pub struct Outcomes {
    runs: BTreeMap<(String, String), Outcome>,
    /// What is wrong with a guest, rather than with one of the runs.
    pub complaints: Vec<String>,
}

impl Outcomes {
    fn insert(&mut self, run: &Run, outcome: Outcome) {
        let key = (run.mutant.clone(), run.program.clone());
        self.runs.insert(key, outcome);
    }

    pub fn of(&self, mutant: &str, program: &str) -> Outcome {
        let key = (mutant.to_owned(), program.to_owned());
        let missing = || Outcome::without("was not run");
        self.runs.get(&key).cloned().unwrap_or_else(missing)
    }
}

/// Runs all, in as many guests as it takes: one that cannot go on is followed by another.
pub fn run_all(runs: &[Run], payload: &Path, logs: &Path) -> Result<Outcomes> {
    let mut outcomes = Outcomes::default();
    let mut rest = runs;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let mut reader = Reader::default();
        let status = boot(rest, payload, logs, number, &mut reader)?;
        let Reader { done, current } = reader;
        let mut ended = done.len();
        for (run, outcome) in rest.iter().zip(done) {
            outcomes.insert(run, outcome);
        }
        if let (Some(_), Some(run)) = (current, rest.get(ended)) {
            let outcome = Outcome::without("the guest hung or died");
            outcomes.insert(run, outcome);
            ended += 1;
        } else if status == 125 || ended == 0 {
            outcomes.complaints.push(format!(
                "the guest's kernel complained, or it ran nothing: see build/mutants/console-{number}.log"
            ));
        }
        if ended == 0 {
            break;
        }
        rest = rest.get(ended..).unwrap_or_default();
        if !rest.is_empty() {
            note!("mutants: another guest, for {} programs", rest.len());
        }
    }
    Ok(outcomes)
}

fn boot(
    runs: &[Run],
    payload: &Path,
    logs: &Path,
    number: u32,
    reader: &mut Reader,
) -> Result<i32> {
    let options = vm::Options {
        payload: Some(payload.into()),
        timeout: Some(WHOLE),
        machine: qemu::Machine {
            memory: "3G".into(),
            blank_disk: vec![4 << 30],
            ..Default::default()
        },
        suite: SUITE,
        log: Some(logs.join(format!("console-{number}.log"))),
    };
    let mut command: Vec<OsString> = vec![
        "/opt/composefs/run-mutants".into(),
        LIMIT.to_string().into(),
    ];
    command.extend(runs.iter().map(Run::word));
    let mut tap = File::create(logs.join(format!("guest-{number}.tap")))?;
    let mut take = |line: &[u8]| {
        let _ = tap.write_all(line);
        reader.line(String::from_utf8_lossy(line).trim_end_matches('\n'));
    };
    vm::run(&options, &vm::Program::Command(command), &mut take)
}

/// Reads what a guest prints: see `scripts/in-guest/run-mutants`.
#[derive(Default)]
struct Reader {
    done: Vec<Outcome>,
    current: Option<Outcome>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("#begin"), _) => self.current = Some(Outcome::default()),
            (Some("#end"), Some(status)) => {
                let mut outcome = self.current.take().unwrap_or_default();
                if matches!(status, "124" | "137") {
                    outcome.problem = Some(format!("took more than {LIMIT} seconds"));
                }
                self.done.push(outcome);
            }
            _ => {
                if let Some(outcome) = &mut self.current {
                    outcome.line(line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_one_after_another() {
        let mut reader = Reader::default();
        let text =
            "#begin a t_x\nok 1 a\n\n#end 0\n#begin b t_x\nnot ok 1 a\n\n#end 137\n#begin c t_x\n";
        text.lines().for_each(|line| reader.line(line));
        assert!(reader.done[0].passed.contains(&1) && reader.done[0].problem.is_none());
        assert!(reader.done[1].problem.is_some());
        assert!(reader.done.len() == 2 && reader.current.is_some());
    }
}
