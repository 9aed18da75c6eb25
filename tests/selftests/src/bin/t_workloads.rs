// SPDX-License-Identifier: GPL-2.0-only
//! What people do with trees: copy them with the tools that keep everything, search them, and run
//! a system from them, with a package manager and a compiler.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{bail, ensure, Result};
use composefs_selftests::command::output;
use composefs_selftests::compare::{expect_equal, Links};
use composefs_selftests::image::build;
use composefs_selftests::mount::Mount;
use composefs_selftests::tap::{self, Case, Skip};
use composefs_selftests::tree::{self, Tree};
use composefs_selftests::{basic_tree, odd_tree, root_image, setup};

struct Context {
    work: PathBuf,
    /// A tree with one of everything, and what it looks like.
    odd: Mount,
    expected: Tree,
    /// The source of a Debian system, and its mount with an overlayfs to write to.
    source: PathBuf,
    system: Mount,
    merged: Container,
}

/// An overlayfs on a system with what programs expect to be mounted in it.
struct Container {
    root: PathBuf,
    /// In the order of unmounting.
    mounts: Vec<Mount>,
}

impl Container {
    fn new(work: &Path, lower: &Path) -> Result<Self> {
        setup::modprobe("overlay")?;
        let part = |name: &str| work.join(name);
        for name in ["upper", "work", "merged"] {
            setup::create_dir(&part(name))?;
        }
        let root = part("merged");
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            part("upper").display(),
            part("work").display()
        );
        let mut container = Self {
            root: root.clone(),
            mounts: Vec::new(),
        };
        container.mount(&root, &["-t", "overlay", "-o", &options, "overlay"])?;
        for name in ["proc", "dev", "tmp"] {
            setup::create_dir(&root.join(name))?;
        }
        container.mount(&root.join("proc"), &["-t", "proc", "proc"])?;
        container.mount(&root.join("dev"), &["--bind", "/dev"])?;
        container.mount(&root.join("tmp"), &["-t", "tmpfs", "tmpfs"])?;
        Ok(container)
    }

    fn mount(&mut self, target: &Path, arguments: &[&str]) -> Result<()> {
        output(Command::new("mount").args(arguments).arg(target))?;
        self.mounts.insert(0, Mount::adopt(target));
        Ok(())
    }

    /// Runs a script inside; what it prints.
    fn run(&self, script: &str) -> Result<String> {
        let mut chroot = Command::new("chroot");
        chroot.arg(&self.root).args(["/bin/sh", "-euc", script]);
        chroot.env_clear().envs([
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LC_ALL", "C.UTF-8"),
            ("DEBIAN_FRONTEND", "noninteractive"),
        ]);
        output(&mut chroot)
    }
}

fn set_up() -> Result<Context> {
    setup::load_module()?;
    let work = setup::work_directory("workloads")?;
    let tree = work.join("source");
    odd_tree::create(&tree)?;
    basic_tree::create(&tree.join("basic"))?;
    let image = build(&setup::mkcomposefs(), &tree, &work, &[])?;
    let odd = image.request().at(&work.join("mount"))?;
    let expected = tree::read(odd.root())?;

    let (source, image) = root_image::get()?;
    let system = image.request().at(&work.join("system"))?;
    let merged = Container::new(&work, system.root())?;
    Ok(Context {
        work,
        odd,
        expected,
        source,
        system,
        merged,
    })
}

impl Context {
    /// Has a shell script copy the odd tree from `$1` to `$2`; the copy must be as the tree.
    fn copied(&self, name: &str, script: &str, left_out: &[&str]) -> Result<()> {
        let copy = self.work.join(name);
        setup::create_dir(&copy)?;
        setup::drop_caches()?;
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", script, "sh"]);
        output(shell.arg(self.odd.root()).arg(&copy))?;
        let mut expected = self.expected.clone();
        for path in left_out {
            let known = expected.remove(path.as_bytes()).is_some();
            ensure!(known, "there is no {path}");
        }
        expect_equal(&expected, &tree::read(&copy)?, Links::Files)?;
        fs::remove_dir_all(&copy)?;
        Ok(())
    }
}

fn tar(context: &mut Context) -> Result<()> {
    // It does not archive sockets.
    context.copied(
        "tar",
        r#"options="--acls --xattrs --xattrs-include=* --numeric-owner"
           tar -C "$1" $options --format=posix -cf - . 2>/dev/null | tar -C "$2" $options -xpf -
           tar -C "$1" $options --format=posix -cf - . 2>/dev/null |
               tar -C "$1" $options -df - 2>/dev/null"#,
        &["special/socket"],
    )
}

fn rsync(context: &mut Context) -> Result<()> {
    context.copied(
        "rsync",
        r#"rsync -aHAX --numeric-ids "$1/" "$2/"
           changes=$(rsync -aHAXni --checksum --numeric-ids --delete "$1/" "$2/")
           [ -z "$changes" ] || { printf '%s\n' "$changes" >&2; exit 1; }"#,
        &[],
    )
}

fn cp(context: &mut Context) -> Result<()> {
    context.copied("cp", r#"cp -a "$1/." "$2/""#, &[])
}

fn cpio(context: &mut Context) -> Result<()> {
    // It knows neither xattrs nor fractions of seconds, so only that it runs to the end.
    let mut shell = Command::new("bash");
    let script =
        r#"cd "$1"; find . -xdev -depth -size -20000 -print0 | cpio -0 -o -H newc --quiet | wc -c"#;
    shell.args(["-euo", "pipefail", "-c", script, "sh"]);
    let size: u64 = output(shell.arg(context.odd.root()))?.parse()?;
    ensure!(size > 3_000_000, "{size} bytes");
    Ok(())
}

/// Every fact that find knows, of every file of a whole system.
fn find(context: &mut Context) -> Result<()> {
    const FACTS: &str = r"%P\t%y\t%m\t%U\t%G\t%s\t%T@\t%l\n";
    setup::drop_caches()?;
    let mut seen = Vec::new();
    for root in [context.source.as_path(), context.system.root()] {
        let script = format!("find . -mindepth 1 -printf '{FACTS}' | sed 's/\\td\\t\\(.*\\)\\t[0-9]*\\t/\\td\\t\\1\\t/' | LC_ALL=C sort");
        let mut shell = Command::new("sh");
        seen.push(output(shell.args(["-c", &script]).current_dir(root))?);
    }
    let [theirs, ours] = [&seen[0], &seen[1]].map(|text| text.lines().collect::<BTreeSet<_>>());
    ensure!(theirs.len() > 20_000, "only {} names", theirs.len());
    let mut different = theirs.symmetric_difference(&ours);
    if let Some(line) = different.next() {
        bail!("on one side only: {line}, and {} more", different.count());
    }
    let grep = "grep -rl --include='*.conf' -e . etc | LC_ALL=C sort | sha256sum; du -s --apparent-size etc";
    let run = |root: &Path| output(Command::new("sh").args(["-c", grep]).current_dir(root));
    let files = |text: String| text.lines().next().map(str::to_owned);
    ensure!(
        files(run(&context.source)?) == files(run(context.system.root())?),
        "grep finds other files"
    );
    Ok(())
}

/// dpkg compares what is installed with its own checksums.
fn verify_packages(context: &mut Context) -> Result<()> {
    let printed = context
        .merged
        .run("dpkg -V bash coreutils dpkg libc6 perl-base python3-minimal util-linux")?;
    // The root leaves out translations, which are "missing"; a 5 stands for another checksum.
    let wrong: Vec<_> = printed
        .lines()
        .filter(|line| !line.starts_with("missing"))
        .filter(|line| {
            line.split(' ')
                .next()
                .is_some_and(|kind| kind.contains('5'))
        })
        .collect();
    ensure!(wrong.is_empty(), "dpkg -V: {wrong:?}");
    ensure!(printed.contains("/usr/share/locale/"), "dpkg -V: {printed}");
    Ok(())
}

/// A package is installed, upgraded, and removed, with files that shadow and move some of the image.
fn packages(context: &mut Context) -> Result<()> {
    let script = r#"
        make() {
            rm -rf /tmp/p; mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin /tmp/p/usr/share/try /tmp/p/etc
            printf 'Package: try\nVersion: %s\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n' \
                "$1" >/tmp/p/DEBIAN/control
            echo /etc/try.conf >/tmp/p/DEBIAN/conffiles
            printf '#!/bin/sh\nset -e\nldconfig\necho configured %s >>/etc/motd\n' "$1" >/tmp/p/DEBIAN/postinst
            chmod 755 /tmp/p/DEBIAN/postinst
            echo "setting=$1" >/tmp/p/etc/try.conf
            printf '#!/bin/sh\necho version %s\n' "$1" >/tmp/p/usr/bin/try
            chmod 755 /tmp/p/usr/bin/try
            seq 1 20000 >/tmp/p/usr/share/try/data
            dpkg-deb --root-owner-group -b /tmp/p "/tmp/try_$1.deb" >/dev/null
        }
        make 1; make 2
        dpkg -i /tmp/try_1.deb
        try
        dpkg -L try | grep -c try
        apt-get -qq -o Dir::Etc::SourceList=/dev/null -o APT::Sandbox::User=root install -y /tmp/try_2.deb
        try
        dpkg -V try
        grep configured /etc/motd
        # A file of another package is moved aside, and comes back.
        dpkg-divert --local --rename --divert /usr/bin/env.real --add /usr/bin/env
        [ ! -e /usr/bin/env ]; /usr/bin/env.real true
        dpkg-divert --local --rename --remove /usr/bin/env
        env true
        dpkg --purge try
        [ ! -e /usr/bin/try ] && [ ! -e /etc/try.conf ] && echo gone
        dpkg --audit
    "#;
    let printed = context.merged.run(script)?;
    for line in ["version 1", "version 2", "configured 2", "gone"] {
        ensure!(
            printed.lines().any(|printed| printed == line),
            "no line {line:?} in:\n{printed}"
        );
    }
    Ok(())
}

/// A compiler from the mount, with its headers and libraries, makes a program that runs.
fn compiler(context: &mut Context) -> Result<()> {
    if !Path::new("/usr/bin/pcc").exists() {
        return Err(Skip("Debian has no small compiler for this machine".into()).into());
    }
    let script = r#"
        cat >/tmp/hello.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
int main(int argc, char **argv)
{
    struct stat st;
    if (argc != 2 || stat(argv[1], &st))
        return 1;
    printf("%s is %s\n", argv[1], S_ISDIR(st.st_mode) ? "a directory" : "something else");
    return 0;
}
END
        cd /tmp
        pcc -o hello hello.c
        ./hello /usr/include
        ./hello /usr/bin/pcc
    "#;
    let printed = context.merged.run(script)?;
    ensure!(
        printed == "/usr/include is a directory\n/usr/bin/pcc is something else",
        "{printed}"
    );
    Ok(())
}

/// Interpreters, which map and look for many files.
fn interpreters(context: &mut Context) -> Result<()> {
    let script = r#"
        python3 -c 'import json, sqlite3, ssl, email, compileall; print(json.dumps([1]))' 2>/dev/null ||
            python3 -c 'import json, email, compileall; print(json.dumps([1]))'
        perl -MFile::Find -e 'find(sub { $n++ }, "/usr/share/perl5", glob("/usr/lib/*-linux-gnu/perl-base")); print $n > 50 ? "many\n" : "few\n"'
        bash -c 'set -- /usr/bin/*; echo $(($# > 200))'
        TZ=Europe/Berlin date -d @0 +%H
        find /etc -type f -exec cat {} + | wc -c | grep -c .
    "#;
    let printed = context.merged.run(script)?;
    ensure!(printed == "[1]\nmany\n1\n01\n1", "{printed}");
    Ok(())
}

/// Everything in a directory is copied up, and is what it was but for the owner.
fn change_everything(context: &mut Context) -> Result<()> {
    context
        .merged
        .run("chown -Rh 7:8 /usr/share/perl5 /etc && chmod -R g+w /etc")?;
    for name in ["usr/share/perl5", "etc"] {
        let before = tree::read(&context.system.join(name))?;
        let after = tree::read(&context.merged.root.join(name))?;
        let mut count = 0;
        for (path, entry) in &before {
            let Some(changed) = after.get(path) else {
                // What the packages left or removed.
                continue;
            };
            count += 1;
            if path.as_slice() != b"motd" {
                let name = tree::display(path);
                ensure!(changed.content == entry.content, "{name}: content");
            }
        }
        ensure!(count > 50, "{name}: {count} entries");
    }
    Ok(())
}

const CASES: &[Case<Context>] = &[
    ("tar --acls --xattrs", tar),
    ("rsync -aHAX", rsync),
    ("cp -a", cp),
    ("cpio", cpio),
    ("find, grep and du", find),
    ("dpkg -V", verify_packages),
    ("dpkg and apt-get in a container", packages),
    ("a compiler", compiler),
    ("interpreters", interpreters),
    ("chown and chmod of everything", change_everything),
];

fn main() -> ExitCode {
    tap::run(set_up, CASES)
}
