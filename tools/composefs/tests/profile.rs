// SPDX-License-Identifier: GPL-2.0-only
//! Profiles of images: where they go with them, and that what is needed first is fetched first.
//!
//! What is recorded, and read ahead, takes the driver: see `t_prefetch`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::built::{content, Built, FILES};
use common::namespace::inside;
use common::pki::Pki;
use common::server::{Reply, Server};
use common::{composefs, everything, fails, ok, repository};
use composefs_fetchd::client;
use composefs_fetchd::message::Wish;
use composefs_tools::fsverity::{digest_of, object_path, Algorithm};

const LONG: Duration = Duration::from_secs(60);
/// How many files the server is asked for at a time.
const PARALLEL: usize = 16;

fn profile(repository: &Path, built: &Built) -> PathBuf {
    repository.join("profiles").join(&built.digest)
}

/// A profile with these files' objects.
fn text(built: &Built, files: &[u32]) -> String {
    let mut text = format!("composefs-profile 1 sha256:{}\n", built.digest);
    for &file in files {
        let digest = digest_of(Algorithm::Sha256, &content(file));
        text.push_str(&format!("{digest} 0\n"));
    }
    text
}

fn write(repository: &Path, built: &Built, text: &str) {
    let path = profile(repository, built);
    fs::create_dir_all(path.parent().expect("directory")).expect("directory");
    fs::write(path, text).expect("written");
}

#[test]
fn it_goes_with_its_image() {
    let built = Built::new();
    let builder = built.objects.parent().expect("repository");
    let export = built.dir.path().join("export");
    let export = export.to_str().expect("text").to_owned();
    write(builder, &built, &text(&built, &[5, 3]));
    ok(builder, &["export", &export]);
    let exported = format!("{export}/images/{}.profile", built.digest);
    assert_eq!(
        fs::read_to_string(&exported).expect("it"),
        text(&built, &[5, 3])
    );
    // It is recorded anew.
    write(builder, &built, &text(&built, &[5, 3, 4]));
    ok(builder, &["export", &export]);
    assert_eq!(
        fs::read_to_string(&exported).expect("it"),
        text(&built, &[5, 3, 4])
    );

    let sources = [export];
    let target = repository(built.dir.path());
    // What is known here stays in front.
    write(&target, &built, &text(&built, &[7, 4]));
    ok(&target, &built.arguments(&sources));
    let merged = fs::read_to_string(profile(&target, &built)).expect("it");
    assert_eq!(merged, text(&built, &[7, 4, 5, 3]));
    ok(&target, &["fsck", "--contents"]);
    ok(&target, &["gc"]);
    assert!(profile(&target, &built).exists());
    ok(&target, &["rm", "system"]);
    ok(&target, &["gc"]);
    assert_eq!(everything(&target), [target.join("meta.json")]);

    // One that is none changes nothing but for a line, and is not exported.
    fs::write(&exported, "something").expect("written");
    let plain = built.target("plain");
    let output = composefs(&plain, &built.arguments(&sources));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("its profile is not taken"), "{said}");
    assert!(!profile(&plain, &built).exists());
    write(builder, &built, "something");
    let said = fails(builder, &["export", &sources[0]]);
    assert!(said.contains("the profile is damaged"), "{said}");
}

/// Whoever vouches for the image has to vouch for it.
#[test]
fn it_is_signed_as_its_image_is() {
    let built = Built::new();
    let builder = built.objects.parent().expect("repository");
    let export = built.dir.path().join("export");
    let export = export.to_str().expect("text").to_owned();
    let written = text(&built, &[5, 3]);
    write(builder, &built, &written);
    ok(builder, &["export", &export]);
    let pki = Pki::new(built.dir.path(), &["signer", "other"]);
    let (image, cert) = (pki.path("image"), pki.path("signer.crt"));
    fs::write(&image, pki.cms(&built.digest, "signer")).expect("written");
    let fetch = [
        "fetch",
        built.image.to_str().expect("text"),
        "--from",
        &export,
        "--signature",
        &image,
        "--cert",
        &cert,
    ];
    let signature = format!("{export}/images/{}.profile.sig", built.digest);
    let digest = digest_of(Algorithm::Sha256, written.as_bytes()).to_string();
    for (name, signer) in [
        ("none", None),
        ("other", Some("other")),
        ("good", Some("signer")),
    ] {
        if let Some(signer) = signer {
            fs::write(&signature, pki.cms(&digest, signer)).expect("written");
        }
        let target = built.target(name);
        ok(&target, &fetch);
        built.expect_fetched(&target);
        assert_eq!(profile(&target, &built).exists(), name == "good", "{name}");
    }
}

/// What nobody waits for comes in the order in which it will be needed.
#[test]
fn what_is_needed_first_comes_first() {
    inside("what_is_needed_first_comes_first", || {
        let built = Built::new();
        let target = repository(built.dir.path());
        let objects = built.objects.clone();
        let server = Server::run(move |request| {
            match fs::read(objects.join(request.path.trim_start_matches('/'))) {
                Ok(content) => Reply::new(200, &content),
                Err(_) => Reply::new(404, b"nothing"),
            }
        });
        let sources = [format!("http://{}", server.host)];
        ok(
            &target,
            &[&built.arguments(&sources)[..], &["--lazy"]].concat(),
        );
        // Those that would come last.
        let first: Vec<u32> = (0..8).map(|file| FILES - 1 - file).collect();
        write(&target, &built, &text(&built, &first));
        let socket = built.dir.path().join("socket");
        let mut service = Command::new(env!("CARGO_BIN_EXE_composefs"))
            .args(["fetchd", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .spawn()
            .expect("fetchd starts");
        let begin = Instant::now();
        let connection = loop {
            match client::open(&socket).expect("socket") {
                Some(connection) => break connection,
                None => assert!(begin.elapsed() < LONG, "nobody listens"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        let wish = Wish {
            repository: target.clone(),
            image: built.digest.clone(),
            fill: true,
        };
        let _trigger = client::ask(&connection, &wish).expect("trigger");
        let asked = || -> Vec<String> {
            let requests = server.requests().into_iter();
            let paths = requests.map(|request| request.path.trim_start_matches('/').to_owned());
            paths
                .filter(|path| built.objects.join(path).exists())
                .collect()
        };
        while asked().len() < FILES as usize {
            assert!(begin.elapsed() < LONG, "{:?}", asked());
            thread::sleep(Duration::from_millis(50));
        }
        service.kill().expect("killed");
        service.wait().expect("ended");
        // Several are on their way at the same time.
        let asked = asked();
        for file in first {
            let path = object_path(&digest_of(Algorithm::Sha256, &content(file)));
            let place = asked.iter().position(|asked| *asked == path);
            let place = place.expect("it was asked for");
            assert!(place < 8 + PARALLEL, "{file}: {place}");
        }
    });
}
