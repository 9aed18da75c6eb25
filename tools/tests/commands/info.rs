// SPDX-License-Identifier: GPL-2.0-only
//! composefs-info on good images, on damaged ones, and on stores.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use composefs_tools::fsverity::{digest_of, object_path, Algorithm};

use crate::common;

const DUMP: &str = "\
/ 4096 40755 4 0 0 0 1.000000002 - - - user.a=b
/a\\x20b 0 40700 2 1000 1000 0 -5.0 - - -
/a\\x20b/dash 1 120777 1 0 0 0 3.0 \\x2d - -
/a\\x20b/inline 5 100644 1 0 0 0 3.0 - h\\x20\\n\\\\= - user.k\\x3d=v\\x3d\\x00
/a\\x20b/link 0 @100644 1 0 0 0 0.0 /file - -
/file 100 100644 2 70000 0 0 3.0 00/112233 - 0011223300112233001122330011223300112233001122330011223300112233
/null 0 20666 1 0 0 259 3.0 - - -
/whiteout 0 20000 1 0 0 0 3.0 - - -
";

fn directory(name: &str) -> PathBuf {
    common::directory(&format!("info-{name}"))
}

fn mkcomposefs() -> Command {
    Command::new(common::tool(
        "mkcomposefs",
        env!("CARGO_BIN_EXE_mkcomposefs"),
    ))
}

fn make_image(path: &Path, dump: &str) {
    let mut child = mkcomposefs()
        .args(["--from-file", "-"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("run mkcomposefs");
    let mut stdin = child.stdin.take().expect("has a standard input");
    stdin.write_all(dump.as_bytes()).expect("write dump");
    drop(stdin);
    assert!(child.wait().expect("wait").success());
}

fn info(arguments: &[&str], paths: &[&Path]) -> Output {
    Command::new(common::tool(
        "composefs-info",
        env!("CARGO_BIN_EXE_composefs-info"),
    ))
    .args(arguments)
    .args(paths)
    .output()
    .expect("run composefs-info")
}

fn text(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).expect("is text")
}

#[test]
fn dump_and_ls() {
    let dir = directory("dump");
    let image = dir.join("image");
    make_image(&image, DUMP);
    assert_eq!(
        text(&info(&["dump"], &[&image])),
        "\
/ 4096 40755 3 0 0 0 1.2 - - - trusted.overlay.opaque=x user.a=b user.overlay.opaque=x
/a\\x20b 77 40700 2 1000 1000 0 -5.0 - - -
/a\\x20b/dash 1 120777 1 0 0 0 3.0 \\x2d - -
/a\\x20b/inline 5 100644 1 0 0 0 3.0 - h\\x20\\n\\\\= - user.k\\x3d=v\\x3d\\x00
/a\\x20b/link 100 100644 2 70000 0 0 3.0 00/112233 - 0011223300112233001122330011223300112233001122330011223300112233
/file 100 @100644 2 70000 0 0 3.0 /a\\x20b/link - 0011223300112233001122330011223300112233001122330011223300112233
/null 0 20666 1 0 0 259 3.0 - - -
/whiteout 0 20000 1 0 0 0 3.0 - - -
"
    );
    assert_eq!(
        text(&info(&["ls"], &[&image])),
        "\
/a b/\t
/a b/dash\t-> -
/a b/inline
/a b/link\t@ 00/112233
/file
/null
/whiteout
"
    );
    assert_eq!(
        text(&info(
            &["ls", "--filter=null", "--filter", "file"],
            &[&image]
        )),
        "/file\t@ 00/112233\n/null\n"
    );
    assert_eq!(text(&info(&["objects"], &[&image, &image])), "00/112233\n");
    fs::remove_dir_all(dir).expect("remove directory");
}

/// What mkcomposefs accepts is read, up to its limits.
#[test]
fn the_largest_that_there_is() {
    let dir = directory("largest");
    let image = dir.join("image");
    let path = [&*"p".repeat(63); 64].join("/");
    let line = |name: &str, size: u64, payload: &str| {
        format!("/{name} {size} 100644 1 0 0 0 3.0 {payload} - -\n")
    };
    let files = [
        line("path", 1, &path[..4094]),
        line("size", 1 << 53, "-"),
        // More nanoseconds than a second has, as the C tool writes them.
        "/time 0 100644 1 0 0 0 3.1000000000 - - -\n".to_owned(),
        "/times 0 100644 1 0 0 0 -1.4294967295 - - -\n".to_owned(),
        line("under", (1 << 53) - 1, "-"),
    ];
    let files = files.concat();
    // The earliest time is that of the image, and stands in its superblock.
    for time in ["0.0", "-3.1000000000"] {
        make_image(&image, &format!("/ 0 40755 2 0 0 0 {time} - - -\n{files}"));
        let dump = info(&["dump"], &[&image]);
        let (root, found) = text(&dump).split_once('\n').expect("has a root");
        assert!(root.contains(&format!(" {time} ")), "{root}");
        assert_eq!(found, files);
        assert!(info(&["ls"], &[&image]).status.success());
    }
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn missing_objects_and_verify() {
    let dir = directory("verify");
    let (source, store, image) = (dir.join("source"), dir.join("store"), dir.join("image"));
    fs::create_dir(&source).expect("create directory");
    let contents = ["good", "gone", "bad"].map(|name| format!("{name} ").repeat(50));
    for content in &contents {
        fs::write(source.join(&content[..3]), content).expect("write");
    }
    let made = mkcomposefs()
        .arg(format!("--digest-store={}", store.display()))
        .args([&source, &image])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("run mkcomposefs").success());
    let [good, gone, bad] =
        contents.map(|content| object_path(&digest_of(Algorithm::Sha256, content.as_bytes())));
    fs::remove_file(store.join(&gone)).expect("remove object");
    fs::remove_file(store.join(&bad)).expect("remove object");
    fs::write(store.join(&bad), "something else").expect("write object");

    let basedir = format!("--basedir={}", store.display());
    let output = info(&["missing-objects", &basedir], &[&image]);
    assert_eq!(text(&output), format!("{gone}\n"));

    let output = info(&["verify", &basedir], &[&image]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = |object: &str| stdout.lines().find(|line| line.starts_with(object));
    assert!(line(&gone).is_some_and(|line| line.ends_with(": missing")));
    assert!(line(&bad).is_some_and(|line| line.contains(": wrong digest ")));
    // Whether the filesystem of this test has fs-verity is not for it to say.
    let good = line(&good);
    assert!(good.is_none_or(|line| line.ends_with(": fs-verity is not enabled")));
    assert_eq!(stdout.lines().count(), 2 + usize::from(good.is_some()));
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn damaged_images_are_refused_or_read() {
    let dir = directory("damaged");
    let image = dir.join("image");
    make_image(&image, DUMP);
    let good = fs::read(&image).expect("read image");
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % bound
    };
    let mut refused = 0;
    for _ in 0..400 {
        let mut damaged = good.clone();
        for _ in 0..=random(3) {
            // What matters is at the start, mostly.
            let range = if random(2) == 0 { 2048 } else { good.len() };
            let at = random(range);
            damaged[at] = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6)];
        }
        if random(8) == 0 {
            damaged.truncate(random(good.len()));
        }
        fs::write(&image, damaged).expect("write image");
        for command in ["dump", "objects"] {
            let output = info(&[command], &[&image]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => {}
                Some(1) => {
                    refused += 1;
                    assert_eq!(stderr.lines().count(), 1, "{stderr}");
                    assert!(stderr.contains("info-damaged/image"), "{stderr}");
                    assert!(output.stdout.is_empty(), "half a listing");
                }
                status => panic!("{status:?}: {stderr}"),
            }
        }
    }
    assert!(refused > 100, "{refused} refused");
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn not_an_image() {
    let dir = directory("other");
    let file = dir.join("file");
    for content in [&b""[..], b"short", &[0; 8192]] {
        fs::write(&file, content).expect("write");
        let output = info(&["ls"], &[&file]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("not a composefs image"), "{stderr}");
    }
    for arguments in [
        &["ls"][..],
        &["nonsense", "x"],
        &["ls", "--filter=a/b", "x"],
        &["ls", "/nowhere"],
    ] {
        let output = info(arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn measure_file() {
    let dir = directory("measure");
    let file = dir.join("file");
    fs::write(&file, "hello world\n").expect("write");
    // What fsverity-utils print for it.
    assert_eq!(
        text(&info(&["measure-file"], &[&file])),
        "37061ef2ac4c21bec68489b56138c5780306a4ad7fe6676236ecdf2c9027cd92\n"
    );
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn something_has_to_be_named() {
    for (command, cause) in [
        ("measure-file", "no files specified"),
        ("ls", "no image path specified"),
    ] {
        let output = info(&[command], &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, format!("composefs-info: {cause}\n"));
    }
}

#[test]
fn what_is_installed_names_every_command() {
    for kind in ["man", "bash", "zsh", "fish"] {
        let output = info(&[&format!("--generate={kind}")], &[]);
        for command in ["ls", "missing-objects", "dump", "measure-file", "verify"] {
            assert!(
                text(&output).replace("\\-", "-").contains(command),
                "{kind}"
            );
        }
    }
}
