// SPDX-License-Identifier: GPL-2.0-only
//! Whatever is killed, and whenever: the repository is whole.

mod common;

use std::time::{Duration, Instant};

use common::kill::{kill, layers, Moments};
use common::{everything, ok, quick_directory, repository, Layout};

/// How often each is killed.
const KILLS: u32 = 70;

#[test]
fn the_repository_is_whole() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&layers());
    let repository = repository(dir.path());
    let from = format!("oci:{}", layout.path.display());
    let whole = |arguments: &[&str]| {
        let begin = Instant::now();
        ok(&repository, arguments);
        begin.elapsed()
    };
    let mut killed = 0;
    let mut moments = Moments(1);
    let commands: [&[&str]; 3] = [&["pull", &from, "image"], &["rm", "image"], &["gc"]];
    let times: Vec<Duration> = commands.iter().map(|arguments| whole(arguments)).collect();
    for _ in 0..KILLS {
        for (arguments, time) in commands.iter().zip(&times) {
            killed += u32::from(kill(&repository, arguments, moments.next(*time)));
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
