// SPDX-License-Identifier: GPL-2.0-only
//! Layers that become large: when decompressed, in memory, or as files.

mod common;

use common::image::{gzip, GZIP, ZSTD};
use common::peak::{run, Run};
use common::{
    everything, ok, outside, quick_directory, repository, set_sum, sha256, sparse, Layer, Layout,
};
use serde_json::Value;

const MIB: u64 = 1 << 20;
/// What the program may take for a layer of any size that holds next to nothing.
const MEMORY_MAX: u64 = 96 * MIB;
/// Tiny files of the image that has many.
const ENTRIES: u64 = 1_000_000;
/// What each may take.
const ENTRY_MEMORY: u64 = 480;

struct Place {
    dir: tempfile::TempDir,
    layout: Layout,
    repository: std::path::PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = quick_directory();
        Self {
            layout: Layout::new(&dir.path().join("image")),
            repository: repository(dir.path()),
            dir,
        }
    }

    /// Pulls the image of one layer.
    fn pull(&self, (blob, diff_id): (Value, String)) -> Run {
        self.layout.image_of(&[blob], &[diff_id]);
        let before = outside(self.dir.path(), &self.repository);
        let from = self.layout.name();
        let run = run(&self.repository, &["pull", &from, "image"]);
        assert!(outside(self.dir.path(), &self.repository) == before);
        run
    }

    /// The same, for one that is refused: `want` is the end of what is said then.
    fn refused(&self, layer: (Value, String), want: &str) {
        let run = self.pull(layer);
        let error = run.error();
        assert!(error.ends_with(want), "{error}");
        assert!(run.peak < MEMORY_MAX, "{error}: {} bytes", run.peak);
        ok(&self.repository, &["fsck"]);
        ok(&self.repository, &["gc"]);
        assert_eq!(
            everything(&self.repository),
            [self.repository.join("meta.json")]
        );
    }
}

fn unknown() -> String {
    format!("sha256:{}", sha256(b"what it would be"))
}

/// An archive without its end, for others to go on with.
fn start(layer: Layer) -> Vec<u8> {
    let mut bytes = layer.bytes();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

/// 17 GiB of zeros behind an archive, in 17 MB and in 2 MB.
#[test]
fn much_that_was_compressed() {
    let place = Place::new();
    let zeros = vec![0; 16 << 20];
    let archive = Layer::new().file("a", b"a").bytes();
    let zstd = |data: &[u8]| zstd::encode_all(data, 3).expect("zstd");
    for (kind, start, part) in [
        (GZIP, gzip(&archive), gzip(&zeros)),
        (ZSTD, zstd(&archive), zstd(&zeros)),
    ] {
        let blob = place
            .layout
            .blob(&[start, part.repeat(1200)].concat(), kind);
        let size = blob["size"].as_u64().expect("size");
        let max = (16 << 30) + 100 * size;
        let want = format!("is of more than {max} bytes");
        place.refused((blob, unknown()), &want);
    }
}

/// A frame that says that 2 GiB of what was decompressed have to be kept.
#[test]
fn a_window_without_measure() {
    let place = Place::new();
    let archive = Layer::new().file("a", b"a").bytes();
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (31 - 10) << 3];
    // The last block, as it is.
    frame.extend(&((archive.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    frame.extend(&archive);
    let blob = place.layout.blob(&frame, ZSTD);
    let diff_id = format!("sha256:{}", sha256(&archive));
    place.refused((blob, diff_id), "too much memory for decoding");
}

/// Headers of an archive that say how much is to be kept until the next one.
#[test]
fn extensions_without_measure() {
    let place = Place::new();
    for kind in [b'x', b'g', b'L', b'K'] {
        let layer = place.layout.large_layer(|out| {
            let mut header = tar::Header::new_gnu();
            header.set_path("x").expect("path");
            header.set_entry_type(tar::EntryType::new(kind));
            header.set_size(1 << 30);
            header.set_cksum();
            out.write_all(header.as_bytes()).expect("archive");
            (0..1024).for_each(|_| out.write_all(&[b'1'; 1 << 20]).expect("archive"));
        });
        let want = "metadata exceeds limit: 1073741824 bytes > 1048576 bytes";
        place.refused(layer, want);
    }
}

/// A file with holes that does not come to an end of saying where they are.
#[test]
fn a_map_without_end() {
    let place = Place::new();
    let records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n29 GNU.sparse.realsize=12345\n";
    let start = start(Layer::new().raw(b"x", tar::EntryType::XHeader, b"", records));
    let layer = place.layout.large_layer(|out| {
        out.write_all(&start).expect("archive");
        let mut header = tar::Header::new_ustar();
        header.set_path("holes").expect("path");
        header.set_size(64 << 20);
        header.set_cksum();
        out.write_all(header.as_bytes()).expect("archive");
        (0..64).for_each(|_| out.write_all(&[b'0'; 1 << 20]).expect("archive"));
    });
    let want = "is not a tar archive: a header is of more than 2097152 bytes";
    place.refused(layer, want);
}

/// Much that an entry has and an image has not, half a million times as large as any of it.
#[test]
fn what_is_not_kept() {
    let place = Place::new();
    let value = "v".repeat(1_000_000);
    let record = format!("1000023 SCHILY.xattr.user.a={value}");
    let record = format!("{} SCHILY.xattr.user.a={value}\n", record.len() + 1);
    let entry = start(
        Layer::new()
            .raw(b"x", tar::EntryType::XHeader, b"", record.as_bytes())
            .file("a", b"a"),
    );
    let run = place.pull(place.layout.large_layer(|out| {
        (0..300).for_each(|_| out.write_all(&entry).expect("archive"));
    }));
    assert!(run.output.status.success(), "{:?}", run.output);
    assert!(run.peak < MEMORY_MAX, "{} bytes", run.peak);
    ok(&place.repository, &["rm", "image"]);
    ok(&place.repository, &["gc"]);

    let target = "t/".repeat(500_000);
    let link = start(Layer::new().symlink("a", &target));
    let layer = place.layout.large_layer(|out| {
        (0..300).for_each(|_| out.write_all(&link).expect("archive"));
    });
    place.refused(layer, "'a': is a symlink to 1000000 bytes");
    let deep = Layer::new().file(&"d/".repeat(2048), b"");
    let layer = place
        .layout
        .large_layer(|out| out.write_all(&deep.bytes()).expect("archive"));
    place.refused(layer, "has a path of 4096 bytes, more than 4095");
}

/// A few hundred bytes for a file of any size.
#[test]
fn holes_without_measure() {
    let place = Place::new();
    let mut archive = sparse("holes", 512);
    archive[483..495].copy_from_slice(b"777777777777");
    set_sum(&mut archive);
    let layer = place
        .layout
        .large_layer(|out| out.write_all(&archive).expect("archive"));
    let max = (16_u64 << 30) + 100 * layer.0["size"].as_u64().expect("size");
    let want = format!("has files with holes of more than {max} bytes");
    place.refused(layer, &want);
}

/// Half a gibibyte of headers: the memory is that of the image, not of the archive.
#[test]
fn a_million_tiny_entries() {
    let place = Place::new();
    let layer = place.layout.large_layer(|out| {
        for number in 0..ENTRIES {
            let path = format!("{:03}/{number:07}", number % 1000);
            let entry =
                start(Layer::new().raw(path.as_bytes(), tar::EntryType::Regular, b"", b"1"));
            out.write_all(&entry).expect("archive");
        }
        out.write_all(&[0; 1024]).expect("archive");
    });
    let run = place.pull(layer);
    assert!(run.output.status.success(), "{:?}", run.output);
    let max = MEMORY_MAX + ENTRIES * ENTRY_MEMORY;
    assert!(run.peak < max, "{} bytes, more than {max}", run.peak);
    ok(&place.repository, &["fsck"]);
}

/// Two thousand directories that nobody mentioned for each of many entries.
#[test]
fn more_entries_than_fit_into_memory() {
    let place = Place::new();
    let layer = place.layout.large_layer(|out| {
        for number in 0..4000 {
            let path = format!("{number:04}{}", "/d".repeat(2045));
            let entry = start(Layer::new().file(&path, b"1"));
            out.write_all(&entry).expect("archive");
        }
        out.write_all(&[0; 1024]).expect("archive");
    });
    let run = place.pull(layer);
    let error = run.error();
    let want = "is one too many: the image takes more than 1073741824 bytes of memory";
    assert!(error.ends_with(want), "{error}");
    assert!(run.peak < (1 << 30) + MEMORY_MAX, "{} bytes", run.peak);
    let images = ok(&place.repository, &["images"]);
    assert_eq!(images.lines().count(), 1, "{images}");
}
