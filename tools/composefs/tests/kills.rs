// SPDX-License-Identifier: GPL-2.0-only
//! Whatever is killed, and whenever: the repository is whole.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{
    composefs, everything, odd_layers, ok, quick_directory, repository, By, Layer, Layout,
};

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

/// Numbers that look random, and are the same in every run.
struct Moments(u32);

impl Moments {
    /// Kills a command at one of `time`, or somewhat after it. Whether it had not come to its end.
    fn kill(&mut self, mut child: Child, time: Duration) -> bool {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        thread::sleep(time.mul_f64(f64::from(self.0 >> 8) / f64::from(1 << 24) * 1.2));
        let is_running = child.try_wait().expect("child").is_none();
        // It may have come to its end.
        let _ = child.kill();
        child.wait().expect("child");
        is_running
    }
}

fn start(repository: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_composefs"))
        .arg("--repo")
        .arg(repository)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("composefs runs")
}

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
    let from = format!("oci:{}", layout.path.display());
    let mut killed = 0;
    let mut moments = Moments(1);
    let commands: [&[&str]; 3] = [&["pull", &from, "image"], &["rm", "image"], &["gc"]];
    let times: Vec<Duration> = commands
        .iter()
        .map(|arguments| whole(&repository, arguments))
        .collect();
    for _ in 0..KILLS {
        for (arguments, time) in commands.iter().zip(&times) {
            let child = start(&repository, arguments);
            killed += u32::from(moments.kill(child, *time));
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
        let from = format!("oci:{}", layout.path.display());
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
    let times = commands.map(|arguments| whole(&repository, arguments));
    for _ in 0..KILLS {
        for (number, (arguments, time)) in commands.iter().zip(times).enumerate() {
            let before = digest();
            let child = start(&repository, arguments);
            killed += u32::from(moments.kill(child, time));
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
