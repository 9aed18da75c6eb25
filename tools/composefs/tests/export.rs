// SPDX-License-Identifier: GPL-2.0-only
//! Exports, and fetching from them: some are not what they say.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use common::built::{content, Built, FILES};
use common::honest::ranged;
use common::pki::Pki;
use common::server::{Reply, Request, Server};
use common::{composefs, everything, fails, ok, repository, state, By, Layer, Layout};

fn export(built: &Built) -> PathBuf {
    let dir = built.dir.path().join("export");
    let builder = built.objects.parent().expect("repository");
    let printed = ok(builder, &["export", dir.to_str().expect("text")]);
    let first = printed.lines().next().expect("line");
    assert_eq!(first, format!("{} image", built.digest));
    dir
}

/// A web server that hands out a directory, and what `change` makes of its answers.
fn server(dir: &Path, change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static) -> Server {
    let dir = dir.to_owned();
    Server::run(move |request| {
        let reply = match fs::read(dir.join(request.path.trim_start_matches('/'))) {
            Ok(content) => ranged(&content, request),
            Err(_) => Reply::new(404, b"nothing"),
        };
        change(request, reply)
    })
}

fn address(server: &Server) -> String {
    format!("http://{}", server.host)
}

fn packs(export: &Path) -> Vec<PathBuf> {
    let files = everything(&export.join("packs")).into_iter();
    files
        .filter(|path| path.extension().is_some_and(|it| it == "pack"))
        .filter(|path| path.with_extension("idx").exists())
        .collect()
}

/// Bytes of packs that were asked for; none of them twice.
fn asked(server: &Server) -> u64 {
    let mut ranges: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for request in server.requests() {
        if !request.path.ends_with(".pack") {
            continue;
        }
        let range = request.headers["range"].trim_start_matches("bytes=");
        let (first, last) = range.split_once('-').expect("range");
        let (first, last) = (first.parse().expect("number"), last.parse::<u64>());
        let before = ranges.insert((request.path, first), last.expect("number") + 1);
        assert_eq!(before, None, "asked for twice");
    }
    let mut end = (String::new(), 0);
    for ((path, first), last) in &ranges {
        assert!(*path != end.0 || *first >= end.1, "asked for twice");
        end = (path.clone(), *last);
    }
    ranges.iter().map(|((_, first), last)| last - first).sum()
}

#[test]
fn what_is_missing_comes_in_few_requests() {
    let built = Built::new();
    let export = export(&built);
    assert_eq!(
        fs::read(export.join(format!("images/{}.cfs", built.digest))).expect("image"),
        fs::read(&built.image).expect("image")
    );
    let target = repository(built.dir.path());
    let server = server(&export, |_, reply| reply);
    let sources = [address(&server)];
    ok(&target, &built.arguments(&sources));
    built.expect_fetched(&target);
    assert!(server.requests().len() < 10, "{:?}", server.requests());
    let whole: u64 = packs(&export)
        .iter()
        .map(|pack| fs::metadata(pack).expect("pack").len())
        .sum();
    assert_eq!(asked(&server), whole);

    // By way of a directory as well.
    let target = built.target("other");
    ok(
        &target,
        &built.arguments(&[export.to_str().expect("text").to_owned()]),
    );
    built.expect_fetched(&target);
}

/// Of each of those who have signed an image its signature is there, for whoever fetches it.
#[test]
fn signatures_are_beside_their_images() {
    let built = Built::new();
    let builder = built.objects.parent().expect("repository");
    let pki = Pki::new(built.dir.path(), &["signer", "other"]);
    for name in ["signer", "other"] {
        let (key, cert) = (
            pki.path(&format!("{name}.key")),
            pki.path(&format!("{name}.crt")),
        );
        ok(builder, &["sign", "image", "--key", &key, "--cert", &cert]);
    }
    let export = export(&built);
    let mut taken = 0;
    for (at, name) in ["", ".2"].iter().enumerate() {
        let signature = export.join(format!("images/{}{name}.sig", built.digest));
        for signer in ["signer", "other"] {
            let target = built.target(&format!("{signer}-{at}"));
            let fetch = [
                "fetch",
                built.image.to_str().expect("text"),
                "--from",
                export.to_str().expect("text"),
                "--signature",
                signature.to_str().expect("text"),
                "--cert",
                &pki.path(&format!("{signer}.crt")),
            ];
            taken += usize::from(composefs(&target, &fetch).status.success());
        }
    }
    assert_eq!(taken, 2);
    assert!(!export
        .join(format!("images/{}.3.sig", built.digest))
        .exists());
}

/// Whoever has one of two images needs the second pack alone, and of that what he has not.
#[test]
fn an_update_is_what_is_new() {
    let built = Built::new();
    let export = export(&built);
    let target = repository(built.dir.path());
    ok(
        &target,
        &built.arguments(&[export.to_str().expect("text").to_owned()]),
    );
    let before = state(&export);

    let layout = Layout::new(&built.dir.path().join("next"));
    let new = |file: u8| vec![file; 4000];
    let mut layer = Layer::new().dir("usr");
    for file in 0..FILES {
        layer = layer.file(&format!("usr/{file}"), &content(file));
    }
    for file in 0..5 {
        layer = layer.file(&format!("usr/new-{file}"), &new(file));
    }
    layout.image(&[(layer.bytes(), By::Gzip)]);
    let builder = built.objects.parent().expect("repository");
    ok(builder, &["pull", &layout.name(), "next"]);
    let printed = ok(builder, &["export", export.to_str().expect("text"), "next"]);
    let digest = printed.split(' ').next().expect("digest");

    // All that was there is as it was, but for the list.
    let after = state(&export);
    let changed: Vec<_> = before
        .iter()
        .filter(|(path, content)| after.get(*path) != Some(content))
        .map(|(path, _)| path.file_name().expect("name"))
        .collect();
    assert_eq!(changed, ["list"]);
    assert_eq!(after.len(), before.len() + 3, "a pack, its index, an image");

    let server = server(&export, |_, reply| reply);
    let image = export.join(format!("images/{digest}.cfs"));
    let image = image.to_str().expect("text");
    let from = address(&server);
    let fetch = ["fetch", image, "next", "--digest", digest, "--from", &from];
    let bytes: usize = (0..5).map(|file| new(file).len()).sum();
    let dry = ok(&target, &[&fetch[..], &["--dry-run"]].concat());
    assert_eq!(dry.trim(), format!("5 objects, {bytes} bytes"));
    ok(&target, &fetch);
    let paths: Vec<_> = server.requests().into_iter().map(|it| it.path).collect();
    // The last is a profile, which it has not.
    assert_eq!(paths.len(), 4, "{paths:?}");
    assert_eq!(ok(&target, &["digest", "next"]).trim(), digest);
    ok(&target, &["fsck", "--contents"]);

    // Nothing is new: nothing changes.
    ok(builder, &["export", export.to_str().expect("text")]);
    assert_eq!(state(&export), after);
}

/// A large object has a frame of its own: it does not come with others that are wanted.
#[test]
fn only_the_frames_that_are_needed() {
    let built = Built::new();
    let export = export(&built);
    let target = repository(built.dir.path());
    let sources = [export.to_str().expect("text").to_owned()];
    ok(&target, &built.arguments(&sources));
    let objects = everything(&target.join("objects"));
    let small = objects.iter().find(|path| {
        let len = fs::metadata(path).expect("object").len();
        len == content(0).len() as u64
    });
    fs::remove_file(small.expect("object")).expect("removed");
    let server = server(&export, |_, reply| reply);
    ok(&target, &built.arguments(&[address(&server)]));
    built.expect_fetched(&target);
    let whole = fs::metadata(&packs(&export)[0]).expect("pack").len();
    assert!(asked(&server) < whole, "{whole}");
}

#[test]
fn servers_without_parts() {
    let built = Built::new();
    let export = export(&built);
    let target = repository(built.dir.path());
    let dir = export.clone();
    let server = Server::run(move |request| {
        match fs::read(dir.join(request.path.trim_start_matches('/'))) {
            Ok(content) => Reply::new(200, &content),
            Err(_) => Reply::new(404, b"nothing"),
        }
    });
    let sources = [address(&server)];
    let output = composefs(&target, &built.arguments(&sources));
    let error = String::from_utf8(output.stderr).expect("text");
    // All is in one run, from the start: nothing else is asked for.
    assert!(
        output.status.success() || error.contains("the server gives no parts of files"),
        "{error}"
    );
    ok(&target, &["fsck", "--contents"]);
}

/// Which answers are changed, what is said of that, if it is always the same, and how.
type Lie = (&'static str, &'static str, fn(Reply) -> Reply);

fn changed(mut reply: Reply, at: usize) -> Reply {
    if let Some(byte) = reply.body.get_mut(at) {
        *byte ^= 0x55;
    }
    reply
}

fn endless(mut reply: Reply) -> Reply {
    reply.is_endless = true;
    reply
}

fn cut(mut reply: Reply) -> Reply {
    reply.body.truncate(reply.body.len() / 2);
    reply
}

const LIES: [Lie; 13] = [
    ("/list", "packs/list: is not a list of packs", |_| {
        Reply::new(200, b"<html>")
    }),
    ("/list", "packs/list: is of more than", endless),
    ("/list", "packs/list: is damaged", |mut reply| {
        reply.body.pop();
        reply
    }),
    ("/list", "packs/list: ", |mut reply| {
        reply.breaks_after = Some(3);
        reply
    }),
    ("/list", ".idx: is not there", |_| {
        Reply::new(
            200,
            format!("composefs-packs 1 sha256\n{}\n", "0".repeat(64)).as_bytes(),
        )
    }),
    (".idx", ".idx: is not the index", |_| {
        Reply::new(200, b"nothing of that kind")
    }),
    (".idx", ".idx: is damaged: it ends too early", cut),
    (".idx", ".idx: is damaged", endless),
    // The frame is said to be longer.
    (".idx", "", |reply| changed(reply, 17)),
    // As many frames as there can be.
    (".idx", ".idx: is damaged", |mut reply| {
        reply.body[12..16].fill(0xff);
        reply
    }),
    (".pack", "", |reply| changed(reply, 100)),
    (".pack", "", cut),
    (".pack", ".pack: is not there", |_| Reply::new(404, b"")),
];

fn liar(export: &Path, (end, _, lie): Lie) -> Server {
    server(export, move |request, reply| {
        match request.path.ends_with(end) {
            true => lie(reply),
            false => reply,
        }
    })
}

#[test]
fn liars_alone() {
    let built = Built::new();
    let export = export(&built);
    for (number, lie) in LIES.into_iter().enumerate() {
        let target = built.target(&number.to_string());
        let liar = liar(&export, lie);
        let output = composefs(&target, &built.arguments(&[address(&liar)]));
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{number}: {error}");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 2, "{number}: {error}");
        assert!(
            lines[0].contains("is not asked again") && lines[0].contains(lie.1),
            "{number}: {error}"
        );
        assert!(lines[1].contains("no source has object"), "{error}");
        ok(&target, &["fsck", "--contents"]);
        assert_eq!(ok(&target, &["images"]).lines().count(), 1);
    }
}

#[test]
fn one_honest_source_among_liars() {
    let built = Built::new();
    let export = export(&built);
    let target = repository(built.dir.path());
    let mut servers: Vec<_> = LIES.into_iter().map(|lie| liar(&export, lie)).collect();
    servers.push(server(&export, |_, reply| reply));
    let sources: Vec<_> = servers.iter().map(address).collect();
    ok(&target, &built.arguments(&sources));
    built.expect_fetched(&target);
}

/// A frame that becomes much larger than what is said to be in it is read no further.
#[test]
fn a_frame_that_is_a_bomb() {
    let built = Built::new();
    let export = export(&built);
    let bomb = zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).expect("bomb");
    let target = repository(built.dir.path());
    let server = server(&export, move |request, reply| {
        if !request.path.ends_with(".pack") {
            return reply;
        }
        let mut body = bomb.clone();
        body.resize(reply.body.len().max(bomb.len()), 0);
        Reply::new(206, &body)
    });
    let sources = [address(&server)];
    let run = common::peak::run(&target, &built.arguments(&sources));
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.peak < 256 << 20, "{}", run.peak);
    ok(&target, &["fsck", "--contents"]);
}

/// Attacks that are random, and the same in every run.
#[test]
fn many_attacks() {
    let built = Built::new();
    let export = export(&built);
    built.under_attack(500, |attacks| {
        let liar = server(&export, move |request, reply| {
            let number = attacks.fetch_add(1, Ordering::Relaxed);
            attack(number.wrapping_mul(0x9e37_79b9), request, reply)
        });
        let honest = server(&export, |_, reply| reply);
        vec![address(&liar), address(&honest)]
    });
}

fn attack(seed: u32, request: &Request, mut reply: Reply) -> Reply {
    // The list is right more often than not: what comes after it is to be wrong as well.
    if reply.body.is_empty() || request.path.ends_with("/list") && seed % 8 != 0 {
        return reply;
    }
    let at = (seed >> 8) as usize % reply.body.len();
    match seed >> 29 {
        0..=2 => reply.body[at] ^= 1 << (seed % 8),
        3 => reply.body.truncate(at),
        4 => reply.body.insert(at, seed as u8),
        5 => reply.breaks_after = Some(at),
        6 => reply.body[at..].fill(seed as u8),
        _ => reply.body.rotate_left(at.max(1)),
    }
    reply
}

#[test]
fn exports_that_are_not_as_they_should_be() {
    let built = Built::new();
    let export = export(&built);
    let builder = built.objects.parent().expect("repository");
    let dir = export.to_str().expect("text");
    let before = state(&export);

    // What was left of one that was interrupted goes; what is not ours stays.
    fs::write(
        export.join(format!("packs/{}.pack", "1".repeat(64))),
        b"part",
    )
    .expect("written");
    ok(builder, &["export", dir]);
    assert_eq!(state(&export), before);
    fs::write(export.join("packs/README.pack"), b"mine").expect("written");
    ok(builder, &["export", dir]);
    assert!(export.join("packs/README.pack").exists());

    let refused = |path: &Path, bytes: &[u8], why: &str| {
        let whole = fs::read(path).expect("file");
        fs::write(path, bytes).expect("written");
        let error = fails(builder, &["export", dir]);
        assert!(
            error.contains(why) && error.contains(path.to_str().expect("text")),
            "{error}"
        );
        fs::write(path, whole).expect("written");
    };
    let list = export.join("packs/list");
    refused(&list, b"something else", "is not a list of packs");
    let other = format!("composefs-packs 1 sha512\n{}\n", "0".repeat(128));
    refused(&list, other.as_bytes(), "its digests are of sha512");
    let pack = &packs(&export)[0];
    refused(&pack.with_extension("idx"), b"cfspack1", "ends too early");
    refused(pack, b"", "is of 0 bytes, and should be of");
    let error = fails(builder, &["export", dir, "nobody"]);
    assert!(error.contains("there is none of this name"), "{error}");
    let error = fails(builder, &["export", "/proc/nowhere"]);
    assert!(error.contains("/proc/nowhere"), "{error}");

    // A damaged object is not handed out: nothing is written.
    let object = everything(&built.objects)
        .into_iter()
        .find(|path| fs::metadata(path).expect("object").len() == content(0).len() as u64);
    common::damage(&object.expect("object"));
    let fresh = built.dir.path().join("fresh");
    let error = fails(builder, &["export", fresh.to_str().expect("text")]);
    assert!(error.contains("is damaged"), "{error}");
    assert_eq!(everything(&fresh.join("packs")), Vec::<PathBuf>::new());
}
