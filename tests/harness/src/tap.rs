// SPDX-License-Identifier: GPL-2.0-only
//! From what test programs print (TAP, as kselftest writes it) to results.
//!
//! Several programs follow one another, each between lines `#begin NAME` and `#end NAME STATUS`
//! (see `scripts/in-guest/run-tests`).

use std::fmt;
use std::ops::AddAssign;

/// How many lines of a program are repeated after a point that failed.
const TOLD: u32 = 12;

/// How much of the start, and how much of the end of such a line: of a command that failed, what it
/// was comes first and the cause last.
const END: usize = 240;

/// Counts of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Counts {
    pub fn of(passed: u64, failed: u64, skipped: u64) -> Self {
        Self {
            passed,
            failed,
            skipped,
        }
    }

    /// Whether something was tried, and nothing failed.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// One line of the output.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Begin(&'a str),
    End(u32),
    Plan(u64),
    Passed,
    Skipped,
    Failed,
    BailOut,
    /// Indented: belongs to the point before it.
    Nested,
    Comment,
    Nothing,
    /// Not TAP: a program that is dying.
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("#begin"), Some(name), _) => return Self::Begin(name),
            (Some("#end"), _, Some(status)) => return Self::End(status.parse().unwrap_or(255)),
            (None, ..) => return Self::Nothing,
            _ => {}
        }
        let is_point = |text: &str| line == text || line.starts_with(&format!("{text} "));
        let plan = line.strip_prefix("1..").and_then(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        if line.starts_with([' ', '\t']) {
            Self::Nested
        } else if let Some(plan) = plan {
            Self::Plan(plan)
        } else if is_point("ok") {
            let skips = line.split_once('#').is_some_and(|(_, directive)| {
                directive
                    .trim_start()
                    .to_ascii_lowercase()
                    .starts_with("skip")
            });
            if skips {
                Self::Skipped
            } else {
                Self::Passed
            }
        } else if is_point("not ok") {
            Self::Failed
        } else if line.starts_with("Bail out!") {
            Self::BailOut
        } else if line.starts_with('#') {
            Self::Comment
        } else if line.starts_with("TAP version") || line.starts_with("KTAP version") {
            Self::Nothing
        } else {
            Self::Other
        }
    }
}

/// A program that has begun.
struct Program {
    name: String,
    plan: Option<u64>,
    points: u64,
    counts: Counts,
    has_bailed_out: bool,
    /// How many lines were repeated after the last point, if that failed.
    telling: Option<u32>,
}

/// Reads the output line by line, and tells of each program as it ends.
pub struct Report<'a> {
    program: Option<Program>,
    ended: Vec<(String, Counts)>,
    tell: &'a mut (dyn FnMut(String) + Send),
}

impl<'a> Report<'a> {
    pub fn new(tell: &'a mut (dyn FnMut(String) + Send)) -> Self {
        Self {
            program: None,
            ended: Vec::new(),
            tell,
        }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        let parsed = Line::parse(line);
        if let Line::Begin(name) = parsed {
            self.end_unfinished();
            self.program = Some(Program {
                name: name.into(),
                plan: None,
                points: 0,
                counts: Counts::default(),
                has_bailed_out: false,
                telling: None,
            });
            return;
        }
        let Some(mut program) = self.program.take() else {
            return;
        };
        match parsed {
            Line::End(status) => return self.settle(program, status),
            Line::Plan(0) => {
                program.plan = Some(0);
                program.counts.skipped += 1;
                (self.tell)(format!("{}: SKIPPED: {line}", program.name));
            }
            Line::Plan(points) => program.plan = Some(points),
            Line::Passed => program.point(Counts::of(1, 0, 0)),
            Line::Skipped => {
                program.point(Counts::of(0, 0, 1));
                (self.tell)(format!("{}: SKIPPED: {line}", program.name));
            }
            Line::Failed => {
                program.point(Counts::of(0, 1, 0));
                self.fault(&mut program, line);
            }
            Line::BailOut => {
                program.has_bailed_out = true;
                program.counts.failed += 1;
                self.fault(&mut program, line);
            }
            Line::Comment | Line::Nested => self.repeat(&mut program, line),
            Line::Other => {
                program.telling.get_or_insert(0);
                self.repeat(&mut program, line);
            }
            Line::Nothing | Line::Begin(_) => {}
        }
        self.program = Some(program);
    }

    /// The counts, when there is no more.
    pub fn finish(self) -> Counts {
        let mut counts = Counts::default();
        for (_, some) in self.finish_each() {
            counts += some;
        }
        counts
    }

    /// The counts of each program, when there is no more.
    pub fn finish_each(mut self) -> Vec<(String, Counts)> {
        self.end_unfinished();
        self.ended
    }

    fn end_unfinished(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.counts.failed += 1;
            self.fault(&mut program, "did not end");
            self.settle(program, 0);
        }
    }

    fn settle(&mut self, mut program: Program, status: u32) {
        let fault = match (program.has_bailed_out, program.plan) {
            (true, _) => None,
            (false, None) => Some("no plan line".into()),
            (false, Some(plan)) if plan != program.points => {
                Some(format!("{} of {plan} planned points", program.points))
            }
            _ => None,
        };
        let end = match status {
            0 => None,
            124 | 137 => Some("took too long, and was stopped".into()),
            // kselftest's status for what is skipped, where it says so.
            4 if program.counts.failed == 0 && program.counts.skipped > 0 => None,
            // Points that failed explain it.
            _ if program.counts.failed > 0 || fault.is_some() => None,
            _ => Some(format!("exit status {status}")),
        };
        for fault in [fault, end].into_iter().flatten() {
            program.counts.failed += 1;
            self.fault(&mut program, &fault);
        }
        (self.tell)(format!("{}: {}", program.name, program.counts));
        self.ended.push((program.name, program.counts));
    }

    fn fault(&mut self, program: &mut Program, what: &str) {
        (self.tell)(format!("{}: FAILED: {what}", program.name));
        program.telling = Some(0);
    }

    /// What a program says of a point that failed.
    fn repeat(&mut self, program: &mut Program, line: &str) {
        let Some(told) = &mut program.telling else {
            return;
        };
        *told += 1;
        if *told <= TOLD {
            (self.tell)(format!("    {}", both_ends(line)));
        } else if *told == TOLD + 1 {
            (self.tell)("    ...".into());
        }
    }
}

/// A long line without its middle.
fn both_ends(line: &str) -> String {
    let length = line.chars().count();
    if length <= 2 * END {
        return line.to_owned();
    }
    let start: String = line.chars().take(END).collect();
    let end: String = line.chars().skip(length - END).collect();
    format!("{start} ... {end}")
}

impl Program {
    fn point(&mut self, counts: Counts) {
        self.points += 1;
        self.counts += counts;
        self.telling = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts, and what is told of the output.
    fn report(text: &str) -> (Counts, Vec<String>) {
        let mut told = Vec::new();
        let mut tell = |line| told.push(line);
        let mut report = Report::new(&mut tell);
        for line in text.lines() {
            report.line(line);
        }
        let counts = report.finish();
        (counts, told)
    }

    #[test]
    fn a_program_that_passes() {
        let (counts, told) =
            report("#begin t\nTAP version 13\n1..2\nok 1 a\nok 2 b # SKIP no disk\n\n#end t 0\n");
        assert_eq!(counts, Counts::of(1, 0, 1));
        assert_eq!(
            told,
            [
                "t: SKIPPED: ok 2 b # SKIP no disk",
                "t: 1 passed, 0 failed, 1 skipped"
            ]
        );
    }

    #[test]
    fn the_middle_of_a_long_line_is_left_out() {
        let line = format!("{}{}{}", "a".repeat(END), "b".repeat(9), "c".repeat(END));
        let short = format!("{} ... {}", "a".repeat(END), "c".repeat(END));
        assert_eq!(both_ends(&line), short);
        assert_eq!(both_ends(&short[..100]), short[..100]);
    }

    #[test]
    fn a_point_that_fails_and_what_is_said_of_it() {
        let (counts, told) =
            report("#begin t\n1..2\nnot ok 1 a\n# why\nok 2 b\n# not this\n#end t 1\n");
        assert_eq!(counts, Counts::of(1, 1, 0));
        assert_eq!(
            told,
            [
                "t: FAILED: not ok 1 a",
                "    # why",
                "t: 1 passed, 1 failed, 0 skipped"
            ]
        );
    }

    #[test]
    fn a_test_about_skipping_is_no_skip() {
        let (counts, _) = report("#begin t\n1..1\nok 1 skip lists work\n#end t 0\n");
        assert_eq!(counts, Counts::of(1, 0, 0));
    }

    #[test]
    fn a_program_that_keeps_to_no_plan() {
        assert_eq!(
            report("#begin t\nok 1 a\n#end t 0\n").0,
            Counts::of(1, 1, 0)
        );
        assert_eq!(
            report("#begin t\n1..3\nok 1 a\n#end t 0\n").0,
            Counts::of(1, 1, 0)
        );
        assert_eq!(
            report("#begin t\n1..1\nok 1 a\n#end t 3\n").0,
            Counts::of(1, 1, 0)
        );
    }

    #[test]
    fn a_program_that_does_not_end() {
        let (counts, told) = report("#begin t\n1..1\nok 1 a\n#begin u\n1..1\nok 1 b\n#end u 0\n");
        assert_eq!(counts, Counts::of(2, 1, 0));
        assert!(told.contains(&"t: FAILED: did not end".to_owned()));
        assert_eq!(report("#begin t\n1..1\n").0, Counts::of(0, 2, 0));
        let (counts, told) = report("#begin t\n1..2\nok 1 a\n\n#end t 124\n");
        assert_eq!(counts, Counts::of(1, 2, 0));
        assert!(told.contains(&"t: FAILED: took too long, and was stopped".to_owned()));
    }

    #[test]
    fn a_whole_program_is_skipped_or_bails_out() {
        assert_eq!(
            report("#begin t\n1..0 # SKIP no kernel\n#end t 4\n").0,
            Counts::of(0, 0, 1)
        );
        assert_eq!(
            report("#begin t\n1..1\nok 1 a\n#end t 4\n").0,
            Counts::of(1, 1, 0)
        );
        assert_eq!(
            report("#begin t\n1..0 # SKIP no kernel\n#end t 0\n").0,
            Counts::of(0, 0, 1)
        );
        assert_eq!(
            report("#begin t\n1..2\nBail out! no root\n#end t 1\n").0,
            Counts::of(0, 1, 0)
        );
    }

    #[test]
    fn what_is_not_tap_is_told() {
        let (_, told) = report("#begin t\n1..1\nsegfault\nok 1 a\n#end t 0\n");
        assert_eq!(told.first().map(String::as_str), Some("    segfault"));
    }
}
