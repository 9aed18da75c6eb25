// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Reads the dumps that the test images were made from; see composefs-dump(5).

use std::collections::BTreeMap;

/// A line of a dump.
#[derive(Clone, Debug)]
pub struct Line {
    pub size: u64,
    pub mode: u16,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub sec: i64,
    pub nsec: u32,
    pub payload: Option<Vec<u8>>,
    pub content: Option<Vec<u8>>,
    pub digest: Option<String>,
    /// By full names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The files of a dump by path. A hard link has the line of its target.
pub fn parse(text: &str) -> BTreeMap<Vec<u8>, Line> {
    let mut files = BTreeMap::new();
    let mut links = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let path = unescape(fields[0]);
        if fields[2].starts_with('@') {
            links.push((path, unescape(fields[8])));
            continue;
        }
        let (sec, nsec) = fields[7].split_once('.').unwrap();
        let xattrs = fields[11..].iter().map(|xattr| {
            let (name, value) = xattr.split_once('=').unwrap();
            (unescape(name), unescape(value))
        });
        let line = Line {
            size: fields[1].parse().unwrap(),
            mode: u16::from_str_radix(fields[2], 8).unwrap(),
            nlink: fields[3].parse().unwrap(),
            uid: fields[4].parse().unwrap(),
            gid: fields[5].parse().unwrap(),
            rdev: fields[6].parse().unwrap(),
            sec: sec.parse().unwrap(),
            nsec: nsec.parse().unwrap(),
            payload: optional(fields[8]).map(unescape),
            content: optional(fields[9]).map(unescape),
            digest: optional(fields[10]).map(str::to_owned),
            xattrs: xattrs.collect(),
        };
        files.insert(path, line);
    }
    for (path, target) in links {
        let line = files[&target].clone();
        files.insert(path, line);
    }
    files
}

fn optional(field: &str) -> Option<&str> {
    (field != "-").then_some(field)
}

fn unescape(field: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("escape {other}"),
            },
            byte => byte,
        });
    }
    bytes
}
