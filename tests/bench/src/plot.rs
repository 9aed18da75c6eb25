// SPDX-License-Identifier: GPL-2.0-only
//! A plot of what operations cost with the driver, as multiples of what others need.

use std::fmt::Write as _;

use crate::figure::Figures;
use crate::system::System;

/// Operations that are plotted, and what they are called there.
const BARS: &[(&str, &str)] = &[
    ("walk_cold", "walk, cold"),
    ("walk_warm", "walk, warm"),
    ("stat_warm", "stat"),
    ("lookup_negative", "stat, no such name"),
    ("readdir", "readdir"),
    ("getxattr_hit", "getxattr"),
    ("getxattr_miss", "getxattr, none"),
    ("open_first", "open, first"),
    ("open_again", "open, again"),
    ("open_read", "open + read 4 KiB"),
    ("open_mmap", "open + mmap"),
    ("read_seq_warm", "read in order"),
    ("read_random", "read at random"),
    ("exec", "exec"),
    ("mount_umount_syscalls", "mount + unmount"),
    ("slab_walk", "memory after a walk"),
    ("slab_open", "memory, all opened"),
    ("io_requests_cold", "disk requests, cold walk"),
];

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const ROW: f64 = 26.0;
const TOP: f64 = 58.0;
/// The multiple at the right edge; longer bars are cut, and say how long they are.
const MOST: f64 = 1.5;

const OURS_TO_INCUMBENT: &str = "#2a6f97";
const OURS_TO_EXT4: &str = "#e09f3e";

pub fn svg(figures: &Figures) -> String {
    let height = TOP + BARS.len() as f64 * ROW + 34.0;
    let scale = (WIDTH - LEFT - 60.0) / MOST;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <!-- SPDX-License-Identifier: GPL-2.0-only -->\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">Cost with composefs (this driver), \
         as a multiple of others'; shorter is better</text>\n"
    );
    for (x, colour, text) in [
        (
            LEFT,
            OURS_TO_INCUMBENT,
            "of EROFS + overlayfs (composefs 1.0.8)",
        ),
        (LEFT + 270.0, OURS_TO_EXT4, "of plain ext4"),
    ] {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"30\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"40\">{text}</text>",
            x + 18.0
        );
    }
    let bottom = TOP + BARS.len() as f64 * ROW;
    for step in 0..=3 {
        let value = f64::from(step) * 0.5;
        let x = LEFT + value * scale;
        let colour = if step == 2 { "#222" } else { "#ddd" };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            bottom + 18.0
        );
    }
    for (number, (operation, name)) in BARS.iter().enumerate() {
        let y = TOP + number as f64 * ROW;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            y + 17.0
        );
        let Some(row) = figures.get(operation) else {
            continue;
        };
        for (offset, other, colour) in [
            (4.0, System::Overlay, OURS_TO_INCUMBENT),
            (14.0, System::Ext4, OURS_TO_EXT4),
        ] {
            let Some(ratio) = row.ratio(other) else {
                continue;
            };
            let width = ratio.clamp(0.0, MOST) * scale;
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"9\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"9\">{ratio:.2}</text>",
                y + offset,
                LEFT + width + 4.0,
                y + offset + 8.0
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
