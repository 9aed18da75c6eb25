// SPDX-License-Identifier: GPL-2.0-only
//! Whatever is killed, and whenever: the repository is whole.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::kill::{kill, layers, learned, Moments};
use common::{composefs, everything, ok, quick_directory, repository, By, Layer, Layout};

/// How often each is killed.
const KILLS: u32 = 70;

/// How long it takes if nobody kills it.
fn whole(repository: &Path, arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    ok(repository, arguments);
    begin.elapsed()
}

#[test]
fn the_repository_is_whole() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&layers());
    let repository = repository(dir.path());
    let from = layout.name();
    let mut killed = 0;
    let mut moments = Moments(1);
    let commands: [&[&str]; 3] = [&["pull", &from, "image"], &["rm", "image"], &["gc"]];
    let mut times: Vec<Duration> = commands
        .iter()
        .map(|arguments| whole(&repository, arguments))
        .collect();
    for _ in 0..KILLS {
        for (arguments, time) in commands.iter().zip(&mut times) {
            let is_killed = kill(&repository, arguments, moments.next(*time));
            *time = learned(*time, is_killed);
            killed += u32::from(is_killed);
            ok(&repository, &["fsck", "--contents"]);
        }
        // What was killed may be what the next one needs.
        ok(&repository, &["pull", &from, "image"]);
    }
    assert!(killed > KILLS, "only {killed} were killed");
    ok(&repository, &["rm", "image"]);
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}

/// A name is that of the image before or of the one after, or, if it was to go, there or not.
#[test]
fn names_are_whole() {
    let dir = quick_directory();
    let repository = repository(dir.path());
    let mut digests = Vec::new();
    for (name, content) in [("one", b"1"), ("two", b"2")] {
        let layout = Layout::new(&dir.path().join(name));
        layout.image(&[(Layer::new().file("f", content).bytes(), By::Nothing)]);
        let from = layout.name();
        ok(&repository, &["pull", &from, name]);
        digests.push(ok(&repository, &["digest", name]));
    }
    assert_ne!(digests[0], digests[1]);
    let digest = || {
        let output = composefs(&repository, &["digest", "name"]);
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).expect("text"))
    };
    let mut moments = Moments(2);
    let mut killed = 0;
    let commands: [&[&str]; 3] = [
        &["tag", "one", "name"],
        &["tag", "two", "name"],
        &["untag", "name"],
    ];
    let mut times = commands.map(|arguments| whole(&repository, arguments));
    for _ in 0..KILLS {
        for (number, (arguments, time)) in commands.iter().zip(&mut times).enumerate() {
            let before = digest();
            let is_killed = kill(&repository, arguments, moments.next(*time));
            *time = learned(*time, is_killed);
            killed += u32::from(is_killed);
            let after = digest();
            let is_whole = after == before || after.as_ref() == digests.get(number);
            assert!(is_whole, "{arguments:?}: {before:?} became {after:?}");
            ok(&repository, &["fsck", "--contents"]);
            if number < digests.len() {
                ok(&repository, arguments);
            }
        }
    }
    assert!(killed > KILLS, "only {killed} were killed");
    // What others are called was nobody's business.
    for (name, digest) in ["one", "two"].iter().zip(&digests) {
        assert_eq!(ok(&repository, &["digest", name]), *digest);
        ok(&repository, &["rm", name]);
    }
    if digest().is_some() {
        ok(&repository, &["rm", "name"]);
    }
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}
