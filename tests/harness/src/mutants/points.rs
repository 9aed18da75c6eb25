// SPDX-License-Identifier: GPL-2.0-only
//! Which points of a test program passed, by their numbers.

use std::collections::BTreeSet;

/// What became of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub passed: BTreeSet<u64>,
    pub failed: BTreeSet<u64>,
    pub skipped: BTreeSet<u64>,
    /// Why nothing follows from its points.
    pub problem: Option<String>,
}

impl Outcome {
    /// One of which nothing is to be known.
    pub fn without(problem: &str) -> Self {
        Self {
            problem: Some(problem.into()),
            ..Self::default()
        }
    }

    /// Takes one line of TAP.
    pub fn line(&mut self, line: &str) {
        // Whatever comes after that says nothing of what was to be tried.
        if line.starts_with("# setup failed: ") {
            self.problem = Some(line.trim_start_matches("# ").into());
            return;
        }
        let (set, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) if rest.contains(" # SKIP ") => (&mut self.skipped, rest),
            (Some(rest), _) => (&mut self.passed, rest),
            (_, Some(rest)) => (&mut self.failed, rest),
            _ => return,
        };
        let number: Option<u64> = rest.split(' ').next().and_then(|word| word.parse().ok());
        set.extend(number);
    }

    /// What a point did that should have done something else.
    pub fn why_not(&self, point: u64) -> &str {
        match &self.problem {
            Some(problem) => problem,
            None if self.passed.contains(&point) => "passes",
            None if self.failed.contains(&point) => "fails",
            None if self.skipped.contains(&point) => "is skipped",
            None => "is not there",
        }
    }
}

/// Numbers with commas between them.
pub fn list(points: &BTreeSet<u64>) -> String {
    let words: Vec<_> = points.iter().map(u64::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Outcome {
        let mut outcome = Outcome::default();
        text.lines().for_each(|line| outcome.line(line));
        outcome
    }

    #[test]
    fn points_are_told_apart() {
        let found = outcome("1..3\nok 1 a\n# ok 9\nnot ok 2 b\n# why\nok 3 c # SKIP no disk\n");
        assert_eq!(found.passed, BTreeSet::from([1]));
        assert_eq!(found.failed, BTreeSet::from([2]));
        assert_eq!(found.skipped, BTreeSet::from([3]));
        assert_eq!(found.problem, None);
        assert_eq!(
            [1, 2, 3, 4].map(|point| found.why_not(point)),
            ["passes", "fails", "is skipped", "is not there"]
        );
    }

    #[test]
    fn a_program_that_could_not_begin_has_noticed_nothing() {
        let found = outcome("1..1\nnot ok 1 a\n# setup failed: no module\n");
        assert_eq!(found.problem.as_deref(), Some("setup failed: no module"));
    }
}
