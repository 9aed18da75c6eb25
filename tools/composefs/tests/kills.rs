// SPDX-License-Identifier: GPL-2.0-only
//! Whatever is killed, and whenever: the repository is whole.

mod common;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{everything, odd_layers, ok, quick_directory, repository, By, Layer, Layout};

/// How often each is killed.
const KILLS: u32 = 70;

/// Layers with enough in them to be killed within.
fn layers() -> Vec<(Vec<u8>, By)> {
    let mut layers = odd_layers();
    for layer in 0..3_u8 {
        let mut made = Layer::new().dir("usr");
        for file in 0..200_u32 {
            let content: Vec<u8> = (0..2000)
                .map(|at| (at * 7 + file * 31) as u8 ^ layer)
                .collect();
            made = made.file(&format!("usr/{layer}-{file}"), &content);
        }
        layers.push((made.bytes(), By::Gzip));
    }
    layers
}

#[test]
fn the_repository_is_whole() {
    let dir = quick_directory();
    let layout = Layout::new(&dir.path().join("image"));
    layout.image(&layers());
    let repository = repository(dir.path());
    let from = format!("oci:{}", layout.path.display());
    let start = |arguments: &[&str]| -> Child {
        Command::new(env!("CARGO_BIN_EXE_composefs"))
            .arg("--repo")
            .arg(&repository)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("composefs runs")
    };
    let whole = |arguments: &[&str]| {
        let begin = Instant::now();
        ok(&repository, arguments);
        begin.elapsed()
    };
    let mut killed = 0;
    let mut numbers = 1_u32;
    let commands: [&[&str]; 3] = [&["pull", &from, "image"], &["rm", "image"], &["gc"]];
    let times: Vec<Duration> = commands.iter().map(|arguments| whole(arguments)).collect();
    for _ in 0..KILLS {
        for (arguments, time) in commands.iter().zip(&times) {
            // Numbers that look random, and are the same in every run.
            numbers = numbers.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let mut child = start(arguments);
            thread::sleep(time.mul_f64(f64::from(numbers >> 8) / f64::from(1 << 24) * 1.2));
            killed += u32::from(child.try_wait().expect("child").is_none());
            // It may have come to its end.
            let _ = child.kill();
            child.wait().expect("child");
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
