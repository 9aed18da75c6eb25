// SPDX-License-Identifier: GPL-2.0-only
//! Pulls, removals and collections at the same time.

mod common;

use std::thread;

use common::{everything, odd_layers, ok, quick_directory, repository, Layer, Layout};

const ROUNDS: usize = 25;

#[test]
fn nobody_takes_away_what_another_needs() {
    let dir = quick_directory();
    let repository = repository(dir.path());
    let from = |name: &str, more: bool| {
        let layout = Layout::new(&dir.path().join(name));
        let mut layers = odd_layers();
        if more {
            layers.push((
                Layer::new()
                    .file("usr/more", name.repeat(500).as_bytes())
                    .bytes(),
                common::By::Zstd,
            ));
        }
        layout.image(&layers);
        layout.name()
    };
    // Two of the three share all their layers with the third.
    let images = [
        ("a", from("a", true)),
        ("b", from("b", true)),
        ("c", from("c", false)),
    ];
    thread::scope(|scope| {
        for (name, from) in &images {
            let repository = &repository;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    ok(repository, &["pull", from, name]);
                    // What has a name is there, whatever others do.
                    ok(repository, &["digest", "--compute", name]);
                    ok(repository, &["rm", name]);
                }
                ok(repository, &["pull", from, name]);
            });
        }
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                ok(&repository, &["gc"]);
                ok(&repository, &["fsck", "--contents"]);
            }
        });
    });
    ok(&repository, &["fsck", "--contents"]);
    for (name, _) in &images {
        assert_eq!(
            ok(&repository, &["digest", name]),
            ok(&repository, &["digest", "--compute", name])
        );
        ok(&repository, &["rm", name]);
    }
    ok(&repository, &["gc"]);
    assert_eq!(everything(&repository), [repository.join("meta.json")]);
}
