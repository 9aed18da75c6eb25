// SPDX-License-Identifier: GPL-2.0-only
//! What the commands do with their command lines, whatever they are for.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

const TOOLS: [(&str, &str); 2] = [
    ("mkcomposefs", env!("CARGO_BIN_EXE_mkcomposefs")),
    ("composefs-info", env!("CARGO_BIN_EXE_composefs-info")),
];

fn run((_, tool): (&str, &str), argument: &str) -> Output {
    let output = Command::new(tool).arg(argument).output();
    output.unwrap_or_else(|error| panic!("run {tool}: {error}"))
}

#[test]
fn questions_are_answered() {
    for tool in TOOLS {
        for argument in ["-h", "--help"] {
            let output = run(tool, argument);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert!(output.stderr.is_empty(), "{output:?}");
            let stdout = String::from_utf8_lossy(&output.stdout);
            assert!(stdout.contains(&format!("\nUsage: {}", tool.0)), "{stdout}");
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    for tool in TOOLS {
        for (argument, cause) in [
            ("--nonsense", "unexpected argument '--nonsense' found"),
            ("--generate", "unexpected argument '--generate' found"),
            ("--generate=", "cannot generate anything for "),
            ("--generate=car", "cannot generate anything for car"),
        ] {
            let output = run(tool, argument);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(output.stdout.is_empty(), "{output:?}");
            let stderr = String::from_utf8_lossy(&output.stderr);
            let expected = format!("{}: {cause}", tool.0);
            assert!(stderr.starts_with(&expected), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn manuals_have_their_sections() {
    for tool in TOOLS {
        let output = run(tool, "--generate=man");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let page = String::from_utf8_lossy(&output.stdout);
        let sections: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix(".SH "))
            .filter(|section| !section.contains("SIGNATURES"))
            .collect();
        assert!(page.contains(&format!("\n.TH {} 1 ", tool.0)), "{page}");
        assert_eq!(
            sections,
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "NOTES",
                "\"EXIT STATUS\"",
                "\"SEE ALSO\""
            ]
        );
    }
}

#[test]
fn who_reads_no_more_has_enough() {
    for (_, tool) in TOOLS {
        let (ours, theirs) = UnixStream::pair().expect("make a pair of sockets");
        drop(ours);
        let mut command = Command::new(tool);
        command.arg("--generate=man").stdout(OwnedFd::from(theirs));
        let output = command.output().expect("run a tool");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}
