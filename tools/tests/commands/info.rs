// SPDX-License-Identifier: GPL-2.0-only
//! composefs-info on good images, on damaged ones, and on stores.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use composefs_format::disk::{inode, xattr};
use composefs_tools::fsverity::{digest_of, object_path, Algorithm};
use rustix::fs::{mknodat, FileType, Mode, CWD};

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

#[test]
fn spaces_are_escaped_in_targets_alone() {
    let dir = directory("spaces");
    let image = dir.join("image");
    let dump = "/ 0 40755 2 0 0 0 0.0 - - -\n/a\\x20b 3 120777 1 0 0 0 0.0 c\\x20d - -\n";
    make_image(&image, dump);
    let listed = info(&["ls"], &[&image]);
    assert_eq!(text(&listed), "/a b\t-> c\\x20d\n");
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
    let contents =
        ["good", "gone", "bad", "link", "fifo"].map(|name| format!("{name} ").repeat(50));
    for content in &contents {
        fs::write(source.join(&content[..3]), content).expect("write");
    }
    let made = mkcomposefs()
        .arg(format!("--digest-store={}", store.display()))
        .args([&source, &image])
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("run mkcomposefs").success());
    let [good, gone, bad, link, fifo] =
        contents.map(|content| object_path(&digest_of(Algorithm::Sha256, content.as_bytes())));
    fs::remove_file(store.join(&gone)).expect("remove object");
    fs::remove_file(store.join(&bad)).expect("remove object");
    fs::write(store.join(&bad), "something else").expect("write object");
    fs::rename(store.join(&link), dir.join("elsewhere")).expect("move object");
    symlink(dir.join("elsewhere"), store.join(&link)).expect("link");
    fs::remove_file(store.join(&fifo)).expect("remove object");
    mknodat(CWD, store.join(&fifo), FileType::Fifo, Mode::RWXU, 0).expect("FIFO");

    let basedir = format!("--basedir={}", store.display());
    let output = info(&["missing-objects", &basedir], &[&image]);
    assert_eq!(text(&output), format!("{gone}\n"));

    let output = info(&["verify", &basedir], &[&image]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = |object: &str| stdout.lines().find(|line| line.starts_with(object));
    assert!(line(&gone).is_some_and(|line| line.ends_with(": missing")));
    assert!(line(&bad).is_some_and(|line| line.contains(": wrong digest ")));
    assert!(line(&link).is_some_and(|line| line.ends_with(": a symbolic link")));
    assert!(line(&fifo).is_some_and(|line| line.ends_with(": not a regular file")));
    // Whether the filesystem of this test has fs-verity is not for it to say.
    let good = line(&good);
    assert!(good.is_none_or(|line| line.ends_with(": fs-verity is not enabled")));
    assert_eq!(stdout.lines().count(), 4 + usize::from(good.is_some()));
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
    let all = common::few(400);
    for _ in 0..all {
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
    assert!(refused > all / 4, "{refused} refused");
    fs::remove_dir_all(dir).expect("remove directory");
}

/// Where in an image the inode is whose owner, and nothing else, has a number that takes 32 bits.
fn inode_of(image: &[u8], owner: u32) -> usize {
    let found = image.windows(4).position(|at| at == owner.to_le_bytes());
    found.expect("an inode") - inode::extended::UID.offset()
}

#[test]
fn what_is_damaged_is_named() {
    let dir = directory("named");
    let image = dir.join("image");
    make_image(&image, DUMP);
    let mut damaged = fs::read(&image).expect("read image");
    let mode = inode_of(&damaged, 70000) + inode::at::MODE.offset();
    damaged[mode..][..2].fill(0);
    fs::write(&image, damaged).expect("write image");
    let output = info(&["dump"], &[&image]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    // By the name that comes first.
    assert!(stderr.contains("'/a b/link'"), "{stderr}");
    assert!(output.stdout.is_empty(), "half a listing");
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn xattrs_take_no_more_than_they_may() {
    let dir = directory("xattrs");
    let image = dir.join("image");
    for (last, is_good) in [(5517, true), (5518, false)] {
        let mut dump = "/ 0 40755 2 0 0 0 0.0 - - -\n".to_owned();
        // What two files have is kept once, and referred to.
        let mut add = |name: &str, owner: u32, xattrs: &str| {
            for copy in 0..2 {
                let line = format!("/{name}{copy} 0 100644 1 {owner} 0 0 0.0 - - - {xattrs}\n");
                dump.push_str(&line);
            }
        };
        add("few", 70000, "user.a=1 user.b=1 user.c=1");
        let owners = [(70001, 'd', 30000), (70002, 'e', 30000), (70003, 'f', last)];
        for (owner, name, len) in owners {
            let value = "v".repeat(len);
            add(&name.to_string(), owner, &format!("user.{name}={value}"));
        }
        make_image(&image, &dump);

        // One file has all of the long ones, then.
        let mut bytes = fs::read(&image).expect("read image");
        let references = |bytes: &[u8], owner| {
            inode_of(bytes, owner) + inode::EXTENDED_SIZE + xattr::HEADER_SIZE
        };
        for (number, (owner, ..)) in owners.into_iter().enumerate() {
            let from = references(&bytes, owner);
            let to = references(&bytes, 70000) + number * xattr::REFERENCE_SIZE;
            bytes.copy_within(from..from + xattr::REFERENCE_SIZE, to);
        }
        fs::write(&image, bytes).expect("write image");
        let output = info(&["dump"], &[&image]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match is_good {
            true => assert!(output.stdout.len() > 2 * 65535, "{stderr}"),
            false => {
                assert!(
                    stderr.contains("'/few0': xattrs take more than 65535"),
                    "{stderr}"
                );
            }
        }
        assert_eq!(output.status.success(), is_good);
    }
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
