// SPDX-License-Identifier: GPL-2.0-only
//! The objects of an image, from sources of which most are not to be trusted.

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use common::built::{content, Built, FILES};
use common::pki::Pki;
use common::server::{Reply, Request, Server};
use common::{composefs, everything, fails, ok, repository, By, Layer, Layout};

/// What every server is asked first: whether it has packs.
const LIST: &str = "/packs/list";

/// Answers as a web server that has the objects.
fn honest(objects: &Path, request: &Request) -> Reply {
    let path = request.path.trim_start_matches("/store/");
    match fs::read(objects.join(path)) {
        Ok(content) => Reply::new(200, &content),
        Err(_) => Reply::new(404, b"nothing"),
    }
}

fn server(
    objects: &Path,
    change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    let objects = objects.to_owned();
    Server::run(move |request| {
        let reply = honest(&objects, request);
        // That there are no packs is nothing to lie about: `export` has the lies of those who have some.
        match request.path.ends_with(LIST) {
            true => reply,
            false => change(request, reply),
        }
    })
}

/// What was asked for, each time.
fn objects_asked(server: &Server) -> Vec<String> {
    let paths = server.requests().into_iter().map(|request| request.path);
    let is_object = |path: &String| !path.ends_with(LIST) && !path.ends_with(".profile");
    paths.filter(is_object).collect()
}

fn address(server: &Server) -> String {
    format!("http://{}/store/", server.host)
}

#[test]
fn what_is_missing_is_fetched_once() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let server = server(&built.objects, |_, reply| reply);
    let sources = [address(&server)];
    let arguments = built.arguments(&sources);
    let dry = ok(&target, &[&arguments[..], &["--dry-run"]].concat());
    let bytes: usize = (0..FILES).map(|file| content(file).len()).sum();
    assert_eq!(dry.trim(), format!("{FILES} objects, {bytes} bytes"));
    assert!(server.requests().is_empty());
    assert_eq!(everything(&target), [target.join("meta.json")]);

    assert_eq!(ok(&target, &arguments).trim(), built.digest);
    built.expect_fetched(&target);
    let mut paths = objects_asked(&server);
    assert_eq!(paths.len(), FILES as usize);
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), FILES as usize);

    let count = server.requests().len();
    ok(&target, &arguments);
    assert_eq!(server.requests().len(), count);
    // One is gone: it alone is fetched.
    let gone = paths[3].trim_start_matches("/store/");
    fs::remove_file(target.join("objects").join(gone)).expect("removed");
    ok(&target, &arguments);
    assert_eq!(objects_asked(&server).len(), FILES as usize + 1);
    built.expect_fetched(&target);
}

#[test]
fn names_of_what_was_fetched() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let sources = [built.objects.to_str().expect("text").to_owned()];
    ok(&target, &built.arguments(&sources));
    ok(&target, &["tag", "system", "other"]);
    let images = ok(&target, &["images"]);
    assert_eq!(images.lines().count(), 3, "{images}");
    ok(&target, &["untag", "system"]);
    ok(&target, &["gc"]);
    assert_eq!(ok(&target, &["ls", "other"]), built.listing);
    ok(&target, &["rm", "other"]);
    ok(&target, &["gc"]);
    assert_eq!(everything(&target), [target.join("meta.json")]);
    for command in ["ls", "digest", "untag", "rm"] {
        let output = composefs(&target, &[command, "other"]);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(error.contains("there is none of this name"), "{error}");
    }
}

/// Whoever comes last has a name, whatever had it before.
#[test]
fn a_name_is_of_one_image() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let sources = [built.objects.to_str().expect("text").to_owned()];
    let layout = Layout::new(&built.dir.path().join("other"));
    layout.image(&[(Layer::new().dir("other").bytes(), By::Gzip)]);
    let expect = |with_manifest: bool| {
        let images = ok(&target, &["images"]);
        let line = images.lines().find(|line| line.starts_with("system "));
        let line = line.unwrap_or_else(|| panic!("{images}"));
        assert_eq!(line.contains(" - "), !with_manifest, "{images}");
        assert_eq!(images.matches("system ").count(), 1, "{images}");
        let listing = ok(&target, &["ls", "system"]);
        assert_eq!(listing == built.listing, !with_manifest, "{listing}");
    };
    ok(&target, &built.arguments(&sources));
    expect(false);
    ok(&target, &["tag", "system", "fetched"]);
    ok(&target, &["pull", &layout.name(), "system"]);
    expect(true);
    ok(&target, &["tag", "system", "pulled"]);
    ok(&target, &built.arguments(&sources));
    expect(false);
    ok(&target, &["tag", "pulled", "system"]);
    expect(true);
    ok(&target, &["tag", "fetched", "system"]);
    expect(false);
    ok(&target, &["fsck", "--contents"]);
    let named = [&built.arguments(&sources)[..], &["@name"]].concat();
    assert!(fails(&target, &named).ends_with("'@name': cannot be the name of an image"));
}

#[test]
fn directories_of_all_kinds() {
    let built = Built::new();
    // A repository has its objects below itself.
    let builder = built.objects.parent().expect("parent");
    for (number, source) in [&*built.objects, builder].iter().enumerate() {
        let target = built.target(&number.to_string());
        let sources = [source.to_str().expect("text").to_owned()];
        ok(&target, &built.arguments(&sources));
        built.expect_fetched(&target);
    }
}

/// Changes what an honest server answers.
type Lie = fn(&Request, Reply) -> Reply;

const LIES: [(&str, Lie); 8] = [
    ("gave object", |_, mut reply| {
        if let Some(byte) = reply.body.first_mut() {
            *byte ^= 1;
        }
        reply
    }),
    ("ends within a file", |_, mut reply| {
        reply.body.pop();
        reply
    }),
    ("is longer than it should be", |_, mut reply| {
        reply.body.push(0);
        reply
    }),
    ("object", |_, mut reply| {
        reply.breaks_after = Some(reply.body.len() / 2);
        reply
    }),
    ("is longer than it should be", |_, mut reply| {
        reply.is_endless = true;
        reply
    }),
    ("the server says 500", |_, _| Reply::new(500, b"")),
    // Of another size than some, and of other content than all.
    ("object", |_, _| Reply::new(200, &content(FILES))),
    ("the server redirects", |_, _| {
        Reply::new(302, b"").header("Location", "file:///etc/passwd")
    }),
];

#[test]
fn one_honest_source_among_liars() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let mut servers: Vec<_> = LIES
        .iter()
        .map(|(_, lie)| server(&built.objects, lie))
        .collect();
    servers.push(server(&built.objects, |_, reply| reply));
    let sources: Vec<_> = servers.iter().map(address).collect();
    let output = composefs(&target, &built.arguments(&sources));
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{error}");
    built.expect_fetched(&target);
    for ((what, _), source) in LIES.iter().zip(&sources) {
        let line = error.lines().find(|line| line.contains(source.as_str()));
        // One may have been too late to be asked.
        if let Some(line) = line {
            assert!(
                line.contains("is not asked again") && line.contains(what),
                "{line}"
            );
        }
    }
    let honest = sources.last().expect("source");
    assert!(!error.contains(honest.as_str()), "{error}");
    for server in &servers {
        let mut paths = objects_asked(server);
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count, "something was asked for twice");
    }
}

#[test]
fn liars_alone() {
    let built = Built::new();
    for (number, (what, lie)) in LIES.iter().enumerate() {
        let target = built.target(&number.to_string());
        let liar = server(&built.objects, lie);
        let sources = [address(&liar)];
        let output = composefs(&target, &built.arguments(&sources));
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{what}: {error}");
        assert!(error.contains(what), "{what}: {error}");
        assert!(
            error
                .lines()
                .last()
                .is_some_and(|line| line.contains("no source has object")),
            "{error}"
        );
        ok(&target, &["fsck", "--contents"]);
        assert_eq!(ok(&target, &["images"]).lines().count(), 1);
    }
}

/// A source that answers a byte at a time is overtaken, and one that says nothing is left.
#[test]
fn slow_sources_hold_nobody_up() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let slow = server(&built.objects, |_, mut reply| {
        reply.is_slow = true;
        reply
    });
    let fast = server(&built.objects, |_, reply| reply);
    let sources = [address(&slow), address(&fast)];
    ok(&target, &built.arguments(&sources));
    built.expect_fetched(&target);
    assert!(!objects_asked(&slow).is_empty());
}

/// Attacks that are random, and the same in every run: none gets a name for what is not right.
#[test]
fn a_thousand_attacks() {
    let built = Built::new();
    built.under_attack(1000, |attacks| {
        let liar = server(&built.objects, move |request, reply| {
            if reply.status != 200 {
                return reply;
            }
            let number = attacks.fetch_add(1, Ordering::Relaxed);
            attack(number.wrapping_mul(0x9e37_79b9), request, reply)
        });
        let honest = server(&built.objects, |_, reply| reply);
        vec![address(&liar), address(&honest)]
    });
}

fn attack(seed: u32, request: &Request, mut reply: Reply) -> Reply {
    let at = (seed >> 8) as usize % reply.body.len();
    match seed >> 29 {
        0 | 1 => reply.body[at] ^= 1 << (seed % 8),
        2 => reply.body.truncate(at),
        3 => reply.body.insert(at, seed as u8),
        4 => reply.body = content(seed % FILES),
        5 => reply.breaks_after = Some(at),
        6 => return LIES[seed as usize % LIES.len()].1(request, reply),
        _ => reply.body.rotate_left(at.max(1)),
    }
    reply
}

#[test]
fn images_that_nothing_vouches_for() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let image = built.image.to_str().expect("text");
    let objects = built.objects.to_str().expect("text");
    let refused = |arguments: &[&str], why: &str| {
        let arguments = [&["fetch", image, "--from", objects], arguments].concat();
        let output = composefs(&target, &arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(why) && error.contains(image), "{error}");
        assert_eq!(everything(&target), [target.join("meta.json")]);
    };
    refused(&[], "nothing says what the image should be");
    refused(&["--digest", &"0".repeat(64)], "its digest is");
    refused(&["--digest", &"0".repeat(128)], "is one of sha512");

    let pki = Pki::new(built.dir.path(), &["signer", "other"]);
    let (cert, other) = (pki.path("signer.crt"), pki.path("other.crt"));
    let signature = pki.path("signature");
    fs::write(&signature, pki.cms(&built.digest, "signer")).expect("written");
    refused(
        &["--signature", &signature, "--cert", &other],
        "does not vouch for",
    );
    refused(
        &["--signature", &cert, "--cert", &cert],
        "does not vouch for",
    );
    let good = [
        "fetch",
        image,
        "--from",
        objects,
        "--signature",
        &signature,
        "--cert",
        &cert,
    ];
    ok(&target, &good);
    built.expect_fetched(&target);
}

/// As long as it is here, and for whoever gets it from here.
#[test]
fn a_signature_stays_with_its_image() {
    let built = Built::new();
    let target = repository(built.dir.path());
    let pki = Pki::new(built.dir.path(), &["signer", "other"]);
    let (cert, other) = (pki.path("signer.crt"), pki.path("other.crt"));
    let signature = pki.path("signature");
    let signed = pki.cms(&built.digest, "signer");
    fs::write(&signature, &signed).expect("written");
    let fetch = ["fetch", built.image.to_str().expect("text"), "--from"];
    let from = built.objects.to_str().expect("text");
    let proof = ["--signature", &signature, "--cert", &cert];
    ok(&target, &[&fetch[..], &[from], &proof].concat());
    ok(&target, &["gc"]);
    ok(&target, &["fsck", "--contents"]);
    let said = ok(&target, &["verify", "system", "--cert", &cert]);
    assert!(said.contains(&built.digest), "{said}");
    fails(&target, &["verify", "system", "--cert", &other]);

    // Without one it is here as well, and is verified by nobody.
    let plain = built.target("plain");
    ok(&plain, &built.arguments(&[from.to_owned()]));
    let said = fails(&plain, &["verify", "system", "--cert", &cert]);
    assert!(said.ends_with("it is not signed, or its signatures are not here"));

    let export = built.dir.path().join("export");
    let export = export.to_str().expect("text");
    ok(&target, &["export", export]);
    let given = format!("{export}/images/{}.sig", built.digest);
    assert_eq!(fs::read(&given).expect("signature"), signed);
    let next = built.target("next");
    let proof = ["--signature", &given, "--cert", &cert];
    ok(&next, &[&fetch[..], &[export], &proof].concat());
    built.expect_fetched(&next);
    ok(&next, &["verify", "system", "--cert", &cert]);

    ok(&target, &["rm", "system"]);
    ok(&target, &["gc"]);
    assert_eq!(everything(&target), [target.join("meta.json")]);
}
