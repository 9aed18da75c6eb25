// SPDX-License-Identifier: GPL-2.0-only
//! From what `cargo test` prints to results.

use crate::tap::Counts;

/// The counts in what `cargo test` prints, and the lines that tell of failures and skips.
pub fn results(log: &str) -> (Counts, Vec<String>) {
    let (mut counts, mut told, mut in_failures) = (Counts::default(), Vec::new(), false);
    for line in log.lines() {
        let number = |what: &str| -> u64 {
            let before = line
                .split_once(&format!(" {what}"))
                .map(|(before, _)| before);
            let digits = before.and_then(|before| before.rsplit(' ').next());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let test = line.strip_prefix("test ");
        if line == "failures:" {
            in_failures = !in_failures;
        } else if line.starts_with("error: ") || line.starts_with("error[") {
            told.push(line.to_owned());
        } else if line.starts_with("test result: ") {
            counts += Counts::of(number("passed"), number("failed"), number("ignored"));
        } else if let Some(test) = test.filter(|test| test.contains(" ... FAILED")) {
            told.push(format!("host: FAILED: {test}"));
        } else if let Some(test) = test.filter(|test| test.contains(" ... ignored")) {
            told.push(format!("host: SKIPPED: {test}"));
        } else if in_failures && !line.trim().is_empty() {
            told.push(format!("    {line}"));
        }
    }
    (counts, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_test_are_counted() {
        let log = "test a ... ok\ntest b ... FAILED\ntest c ... ignored, needs x\n\nfailures:\n\n---- b ----\n\
                   assertion failed\n\nfailures:\n    b\n\n\
                   test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                   test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let (counts, told) = results(log);
        assert_eq!(counts, Counts::of(13, 1, 1));
        assert!(told.contains(&"host: FAILED: b ... FAILED".into()));
        assert!(told.contains(&"    assertion failed".into()));
        assert!(told.contains(&"host: SKIPPED: c ... ignored, needs x".into()));
    }
}
