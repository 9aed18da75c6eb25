// SPDX-License-Identifier: GPL-2.0-only
//! The command line of mkcomposefs, and where its image goes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use composefs_format::disk::header;
use composefs_tools::fsverity::{digest_of, Algorithm};

use crate::common;

const DUMP: &str = "/ 0 40755 2 0 0 0 0.0 - - -\n/f 3 100644 1 0 0 0 0.0 - abc -\n";

fn directory(name: &str) -> PathBuf {
    common::directory(&format!("mk-{name}"))
}

fn tool() -> PathBuf {
    common::tool("mkcomposefs", env!("CARGO_BIN_EXE_mkcomposefs"))
}

/// Runs mkcomposefs on a dump.
fn make(arguments: &[&str], dump: &str) -> Output {
    make_to(arguments, dump, Stdio::piped())
}

fn make_to(arguments: &[&str], dump: &str, stdout: Stdio) -> Output {
    make_by(Command::new(tool()), arguments, dump, stdout)
}

fn make_by(mut command: Command, arguments: &[&str], dump: &str, stdout: Stdio) -> Output {
    let mut child = command
        .arg("--from-file")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("run mkcomposefs");
    let mut stdin = child.stdin.take().expect("has a standard input");
    // It may well be gone before it has read everything.
    let _ = stdin.write_all(dump.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("wait")
}

fn image() -> Vec<u8> {
    let output = make(&["-", "-"], DUMP);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn digests_are_printed() {
    let dir = directory("digest");
    let path = dir.join("image");
    let path = path.to_str().expect("is text");
    let image = image();
    let digest = |algorithm| format!("{}\n", digest_of(algorithm, &image)).into_bytes();
    assert_eq!(
        make(&["--print-digest", "-", path], DUMP).stdout,
        digest(Algorithm::Sha256)
    );
    assert_eq!(fs::read(path).expect("read image"), image);
    // Options may be abbreviated, repeated, and come last, as with getopt.
    let only = make(
        &["-", "--print-digest-o", "--threads=1", "--threads", "2"],
        DUMP,
    );
    assert_eq!(only.stdout, digest(Algorithm::Sha256));
    let sha512 = make(
        &["--print-digest-only", "--digest-algorithm=sha512", "-"],
        DUMP,
    );
    assert_eq!(sha512.stdout, digest(Algorithm::Sha512));
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn options_are_those_of_the_c_tool() {
    let dir = directory("options");
    let store = dir.join("store");
    // What is short for --digest-store there is so here, whatever else begins alike.
    for option in ["--d", "--digest", "--digest-s", "--digest-store"] {
        let output = make(&[option, store.to_str().expect("is text"), "-", "-"], DUMP);
        assert!(output.status.success(), "{option}: {output:?}");
        assert_eq!(output.stdout, image());
    }
    // A dump is not walked, so how not to walk it is of no matter.
    let arguments = ["--skip-xattrs", "--user-xattrs", "-", "-"];
    let output = make(&arguments, DUMP);
    assert_eq!(output.stdout, image(), "{output:?}");
    let output = Command::new(tool())
        .args(&arguments[..2])
        .args([&dir, &dir.join("image")])
        .output()
        .expect("run mkcomposefs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // As the manual of 1.0.8 names it, and as the tool does.
    let as_0 = make(&["--min-version=0", "-", "-"], DUMP).stdout;
    let as_1 = make(&["--min-version=1", "-", "-"], DUMP).stdout;
    assert_ne!(as_0, as_1);
    assert_eq!(make(&["--version=0", "-", "-"], DUMP).stdout, as_0);
    assert_eq!(make(&["--version=1", "-", "-"], DUMP).stdout, as_1);
    // The C tool has no more; here it is composefs-rs's.
    let as_2 = make(&["--min-version=2", "-", "-"], DUMP).stdout;
    let format = header::at::FORMAT.offset();
    assert_eq!(as_2[format..][..4], header::NEWEST_FORMAT.to_le_bytes());
    let arguments = ["--version=2", "--max-version=2", "-", "-"];
    assert_eq!(make(&arguments, DUMP).stdout, as_2);
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn wrong_command_lines_exit_with_1() {
    for arguments in [
        &[][..],
        &["-"],
        &["a", "b", "c"],
        &["--print-digest-only", "-", "x"],
        &["", "x"],
        &["--threads=0", "-", "-"],
        &["--threads=x", "-", "-"],
        &["--min-version=3", "-", "-"],
        &["--max-version=2", "-", "-"],
        &["--min-version=1", "--max-version=2", "-", "-"],
        &["--min-version=2", "--max-version=3", "-", "-"],
        &["--min-version=x", "-", "-"],
        &["--nonsense", "-", "-"],
        &["--digest-algorithm=md5", "-", "-"],
    ] {
        let output = make(arguments, DUMP);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn refused_dumps_name_line_and_cause() {
    let root = "/ 0 40755 2 0 0 0 0.0 - - -\n";
    for (line, cause) in [
        (
            "/a 0 100644 1 0 0 0 x.0 - - -",
            "line 2: mtime: 'x' is not a number",
        ),
        (
            "/a 0 644 1 0 0 0 0.0 - - -",
            "line 2: mode 644 has no file type",
        ),
        (
            "/a/b 0 100644 1 0 0 0 0.0 - - -",
            "line 2: there is no parent of '/a/b'",
        ),
        (
            "/a 5 100644 1 0 0 0 0.0 - abc -",
            "line 2: content is not of size 5",
        ),
        (
            "/a 5 100644 1 0 0 0 0.0 - - zz",
            "line 2: 'zz' is not a digest of 64 hex digits",
        ),
        (
            "/a\\q 0 100644 1 0 0 0 0.0 - - -",
            "line 2: path: invalid escape in '/a\\q'",
        ),
        (
            "/a 0 100644 1 0 0 0 0.0 - - - x",
            "line 2: no = in xattr 'x'",
        ),
        (
            "/a 0 @100644 1 0 0 0 0.0 /b - -",
            "line 2: hard link to '/b', which is not there",
        ),
        (
            "/ 0 40755 2 0 0 0 0.0 - - -",
            "line 2: the tree has a root already",
        ),
        (
            "/a 9007199254740993 100644 1 0 0 0 0.0 - - -",
            "line 2: a file of 9007199254740993 bytes",
        ),
        // As far as C's unsigned numbers go, and what wraps around to them.
        (
            "/a 18446744073709551615 100644 1 0 0 0 0.0 - - -",
            "line 2: a file of 18446744073709551615 bytes",
        ),
        (
            "/a -1 100644 1 0 0 0 0.0 - - -",
            "line 2: a file of 18446744073709551615 bytes",
        ),
        (
            "/a -8796093022207 100644 1 0 0 0 0.0 - - -",
            "line 2: a file of 18446735277616529409 bytes",
        ),
        (
            "/a 0 @100644 1 0 0 0 0.0 / - -",
            "line 2: hard link to '/', which is a directory",
        ),
        (
            "/a 0 20644 2 0 0 0 0.0 - - -",
            "line 2: a whiteout cannot have a second link",
        ),
    ] {
        let output = make(&["-", "-"], &format!("{root}{line}\n"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{line}: {stderr}");
        assert!(stderr.contains(cause), "{line}: {stderr}");
        assert!(output.stdout.is_empty(), "{line}: half an image");
    }
    // Twice the same name, and hard links in a circle.
    for (lines, cause) in [
        (
            "/a 0 100644 1 0 0 0 0.0 - - -\n/a 0 100644 1 0 0 0 0.0 - - -",
            "line 3: '/a' is there already",
        ),
        (
            "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 @100644 1 0 0 0 0.0 /a - -",
            "hard links form a loop",
        ),
        // Before or after what it links to, and by way of another link.
        (
            "/d 0 40755 2 0 0 0 0.0 - - -\n/d/a 0 @100644 1 0 0 0 0.0 /d - -",
            "line 3: hard link to '/d', which is a directory",
        ),
        (
            "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 @100644 1 0 0 0 0.0 /d - -\n/d 0 40755 2 0 0 0 0.0 - - -",
            "line 3: hard link to '/d', which is a directory",
        ),
        (
            "/a 0 20644 1 0 0 0 0.0 - - -\n/b 0 @20644 1 0 0 0 0.0 /a - -",
            "line 3: hard link to '/a', which is a whiteout",
        ),
        (
            "/a 0 @20644 1 0 0 0 0.0 /b - -\n/b 0 @20644 1 0 0 0 0.0 /c - -\n/c 0 20644 1 0 0 0 0.0 - - -",
            "line 3: hard link to '/c', which is a whiteout",
        ),
    ] {
        let output = make(&["-", "-"], &format!("{root}{lines}\n"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{lines}: {stderr}");
        assert!(stderr.contains(cause), "{lines}: {stderr}");
    }
}

/// A path that no kernel looks up: `PATH_MAX` counts the slash before it and the zero after it.
#[test]
fn object_paths_that_cannot_be_opened_are_refused() {
    let dump = |kind: &str, len: usize| {
        let name = "p".repeat(63);
        let path = [&*name; 64].join("/");
        assert_eq!(path.len(), 4095);
        format!(
            "/ 0 40755 2 0 0 0 0.0 - - -\n/a {kind} 1 0 0 0 0.0 {} - -\n",
            &path[..len]
        )
    };
    for kind in ["1 100644", "0 100644", "1 120777", "0 10644"] {
        let output = make(&["-", "-"], &dump(kind, 4094));
        assert!(output.status.success(), "{kind}: {output:?}");
        let output = make(&["-", "-"], &dump(kind, 4095));
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Of other files, it is the target of a symlink, or of no matter.
        let refused = kind == "1 100644";
        assert_eq!(
            output.status.code(),
            Some(i32::from(refused)),
            "{kind}: {stderr}"
        );
        let cause = "line 2: the path of an object is longer than 4094 bytes";
        assert_eq!(stderr.contains(cause), refused, "{kind}: {stderr}");
    }
}

#[test]
fn an_image_is_replaced_whole_or_not_at_all() {
    let dir = directory("replace");
    let path = dir.join("image");
    let link = dir.join("link");
    fs::write(&path, "old").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
    let old = File::open(&path).expect("open");
    symlink("image", &link).expect("link");
    let link = link.to_str().expect("is text");

    let output = make(&["-", link], "nonsense");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&path).expect("read"), b"old");

    let output = make(&["-", link], DUMP);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(&path).expect("read"), image());
    assert_eq!(path.metadata().expect("stat").mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(link).expect("stat").is_symlink());
    assert_eq!(fs::read_dir(&dir).expect("read directory").count(), 2);
    // Who has it open, or has mounted it, keeps what was there.
    assert_eq!(io::read_to_string(old).expect("read"), "old");
    fs::remove_dir_all(dir).expect("remove directory");
}

/// As root is that can do what the owner of a file can, and no more.
fn without_capabilities() -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(tool());
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]);
    command.arg(tool());
    command
}

#[test]
fn who_may_make_no_file_writes_the_one_that_is_there() {
    let dir = directory("in-place");
    let path = |name: &str| dir.join(name).to_str().expect("is text").to_owned();
    let (old, new) = (path("old"), path("new"));
    fs::write(&old, "old").expect("write");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).expect("chmod");
    let make = |arguments: &[&str]| {
        let output = make_by(without_capabilities(), arguments, DUMP, Stdio::piped());
        String::from_utf8(output.stderr).expect("is text")
    };

    // fs-verity wants a file that nobody writes to.
    for arguments in [&["-", &new][..], &["--enable-verity", "-", &old]] {
        let stderr = make(arguments);
        assert!(stderr.contains(": Permission denied"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert_eq!(fs::read(&old).expect("read"), b"old");
    }
    assert_eq!(make(&["-", &old]), "");
    assert_eq!(fs::read(&old).expect("read"), image());

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn what_is_open_already_is_written_in_place() {
    let dir = directory("open");
    let path = dir.join("image");
    let file = File::create(&path).expect("create");
    let inode = file.metadata().expect("stat").ino();
    for name in ["/dev/stdout", "/proc/self/fd/1"] {
        let stdout = Stdio::from(file.try_clone().expect("duplicate"));
        let output = make_to(&["-", name], DUMP, stdout);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read(&path).expect("read"), image());
        assert_eq!(path.metadata().expect("stat").ino(), inode);
    }
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn unwritable_places_are_named() {
    for (path, cause) in [
        ("/nowhere/image", "'/nowhere/image': No such file"),
        ("/proc", "'/proc': Is a directory"),
        ("/dev/full", "No space left on device"),
    ] {
        let output = make(&["-", path], DUMP);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(cause), "{stderr}");
    }
}

#[test]
fn unreadable_sources_are_named() {
    for (arguments, cause) in [
        (&["/nowhere", "-"][..], "'/nowhere': No such file"),
        (&["/etc/passwd", "-"], "'/etc/passwd': Not a directory"),
        (
            &["--skip-xattrs", "--user-xattrs", "/etc", "-"],
            "exclude each other",
        ),
    ] {
        let output = Command::new(tool())
            .args(arguments)
            .output()
            .expect("run mkcomposefs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(cause), "{stderr}");
    }
}

#[test]
fn what_is_empty_need_not_be_readable() {
    let dir = directory("unreadable");
    for (content, is_good) in [("", true), ("not for all", false)] {
        let file = dir.join("file");
        fs::write(&file, content).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("chmod");
        let output = without_capabilities()
            .args(["--print-digest-only", "--skip-xattrs"])
            .arg(&dir)
            .output()
            .expect("run mkcomposefs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_good, "{stderr}");
        assert_eq!(
            stderr.contains("file': Permission denied"),
            !is_good,
            "{stderr}"
        );
        fs::remove_file(&file).expect("remove");
    }
    fs::remove_dir_all(dir).expect("remove directory");
}

#[test]
fn many_small_directories_take_few_descriptors() {
    let dir = directory("wide");
    for number in 0..3000 {
        fs::create_dir_all(dir.join(format!("source/{number}/a"))).expect("create directory");
    }
    let status = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 300; exec \"$0\" --print-digest-only \"$1\"",
        ])
        .arg(tool())
        .arg(dir.join("source"))
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("run sh").success());
    fs::remove_dir_all(dir).expect("remove directory");
}
