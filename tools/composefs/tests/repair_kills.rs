// SPDX-License-Identifier: GPL-2.0-only
//! Repairs that are killed make nothing worse, and the next one goes on.

mod common;

use std::fs;
use std::time::Duration;

use common::kill::{kill, layers, learned, Moments};
use common::{composefs, damage, ok, pulled, state, Pulled};

/// How often things are damaged, and how often a repair is killed each time.
const ROUNDS: usize = 28;
const KILLS: usize = 3;

#[test]
fn nothing_gets_worse() {
    let Pulled {
        dir: _dir,
        repository,
        ..
    } = pulled(&layers());
    let whole = state(&repository);
    let objects = repository.join("objects");
    let links = [repository.join("streams"), repository.join("images")];
    let things: Vec<_> = whole
        .keys()
        .filter(|path| !path.ends_with("streams/refs/oci/image"))
        .filter(|path| path.starts_with(&objects) || links.iter().any(|dir| path.starts_with(dir)))
        .collect();
    let repair = ["fsck", "--repair", "--contents"];
    let mut killed = 0;
    let mut moments = Moments(2);
    let mut time = Duration::from_millis(100);
    for round in 0..ROUNDS {
        // Some are damaged, and some are gone: others in each round.
        for thing in things.iter().skip(round % 7).step_by(7) {
            match round % 2 == 0 || !thing.starts_with(&objects) {
                true => fs::remove_file(thing).expect("removed"),
                false => damage(thing),
            }
        }
        let check = composefs(&repository, &["fsck", "--contents"]);
        assert_eq!(check.status.code(), Some(1));
        for _ in 0..KILLS {
            let before = state(&repository);
            let is_killed = kill(&repository, &repair, moments.next(time));
            killed += usize::from(is_killed);
            time = learned(time, is_killed);
            let after = state(&repository);
            for path in before.keys().chain(after.keys()) {
                let name = path.file_name().expect("name").to_string_lossy();
                // What is different is as it was at first.
                assert!(
                    name.starts_with('.')
                        || before.get(path) == after.get(path)
                        || whole.get(path) == after.get(path),
                    "{}",
                    path.display()
                );
            }
        }
        ok(&repository, &repair);
        assert!(state(&repository) == whole);
    }
    assert!(killed > ROUNDS, "only {killed} were killed");
}
