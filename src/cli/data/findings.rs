//! What was found in a data set, for readers.

use std::io::{Result, Write};

use super::list::counts;
use crate::dataset::Inspection;
use crate::dataset::image_files::Allowed;
use crate::dataset::inspect::{MOST_IMAGES, Moments, NamedImage, NearDuplicates, Pair, SharedGroup, Sizes};
use crate::experiment::DatasetInstance;
use crate::kind::text::visible;

/// Findings of one sort that are listed.
const LISTED: usize = 20;

/// Writes a heading, counts, statistics, and all findings.
pub(super) fn show(dataset: &DatasetInstance, found: &Inspection, out: &mut impl Write) -> Result<()> {
    let (id, kind, size) = (dataset.id(), dataset.spec.kind(), dataset.spec.size());
    let classes = found.classes.len();
    let several = found.multi_label.as_ref().map_or("", |_| ", multi-label");
    writeln!(out, "{id} ({kind}, {size} x {size} pixels, {classes} classes{several})")?;
    counts(&found.classes, &found.counts, found.multi_label.as_ref(), out)?;
    found.sizes.iter().try_for_each(|sizes| show_sizes(sizes, out))?;
    found.moments.iter().try_for_each(|moments| show_moments(moments, out))?;
    let concerns = found.concerns.iter().map(|concern| format!("it {concern}"));
    for warning in found.warnings.iter().cloned().chain(concerns) {
        writeln!(out, "  warning: {}", visible(&warning))?;
    }
    show_damaged(&found.damaged, out)?;
    show_leaks(found, out)?;
    show_near(found, out)?;
    let verdict = if found.is_wrong() { "wrong: see the errors above" } else { "no errors found" };
    writeln!(out, "  {verdict}\n")
}

fn show_sizes(sizes: &Sizes, out: &mut impl Write) -> Result<()> {
    let [smallest, median, largest] =
        [sizes.smallest, sizes.median, sizes.largest].map(|[width, height]| format!("{width} x {height}"));
    writeln!(out, "  image files: smallest {smallest}, median {median}, largest {largest} pixels")
}

fn show_moments(Moments { mean, std }: &Moments, out: &mut impl Write) -> Result<()> {
    let list = |[red, green, blue]: [f64; 3]| format!("[{red:.4}, {green:.4}, {blue:.4}]");
    writeln!(out, "  training pixels: normalize = {{ mean = {}, std = {} }}", list(*mean), list(*std))
}

fn show_damaged(damaged: &[String], out: &mut impl Write) -> Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    writeln!(out, "  error: {} images cannot be read:", damaged.len())?;
    list(damaged.iter().map(|message| message.as_str().into()), damaged.len(), out)
}

fn show_leaks(found: &Inspection, out: &mut impl Write) -> Result<()> {
    let [within, across] = found.within_and_across();
    let word = |leak| if found.allow.contains(&leak) { "allowed" } else { "error" };
    let groups = &found.shared_groups;
    if !groups.is_empty() {
        let (word, count) = (word(Allowed::SharedGroups), groups.len());
        writeln!(out, "  {word}: {count} groups (patients, lesions) are in several splits:")?;
        list(groups.iter().map(shared_group), count, out)?;
    }
    if !across.is_empty() {
        let (word, count) = (word(Allowed::IdenticalImages), across.len());
        writeln!(out, "  {word}: {count} sets of identical images are in different splits:")?;
        list(across.iter().map(|group| images(group)), count, out)?;
    }
    if !within.is_empty() {
        writeln!(out, "  warning: {} sets of identical images are in one split:", within.len())?;
        list(within.iter().map(|group| images(group)), within.len(), out)?;
    }
    Ok(())
}

fn shared_group(shared: &SharedGroup) -> String {
    let splits: Vec<&str> = shared.splits.iter().map(|split| split.as_str()).collect();
    format!("{} ({} images in {})", shared.group, shared.images, splits.join(", "))
}

fn images(group: &[NamedImage]) -> String {
    let named: Vec<String> = group.iter().take(LISTED).map(named).collect();
    let more = if group.len() > LISTED { ", …" } else { "" };
    named.join(", ") + more
}

fn named(image: &NamedImage) -> String {
    format!("{} ({})", image.name, image.split.as_str())
}

fn show_near(found: &Inspection, out: &mut impl Write) -> Result<()> {
    let single: usize = found.counts.iter().flatten().sum();
    let images = found.multi_label.as_ref().map_or(single, |multi| multi.images.iter().sum());
    match &found.near_duplicates {
        None if images > MOST_IMAGES => {
            writeln!(out, "  near duplicates: not searched for among more than {MOST_IMAGES} images")
        }
        None => writeln!(out, "  near duplicates: not searched for, as images cannot be read"),
        Some(NearDuplicates { count: 0, .. }) => Ok(()),
        Some(NearDuplicates { count, closest }) => {
            writeln!(
                out,
                "  warning: {count} pairs of near duplicates are in different splits; the closest:"
            )?;
            list(closest.iter().map(pair), *count, out)
        }
    }
}

fn pair(pair: &Pair) -> String {
    let [a, b] = pair.images.each_ref().map(named);
    format!("{a} and {b}: {:.1} of 255 levels, {} of 64 bits", pair.levels, pair.bits)
}

/// The first items, and how many there are more.
fn list(items: impl Iterator<Item = String>, count: usize, out: &mut impl Write) -> Result<()> {
    let listed: Vec<String> = items.take(LISTED).collect();
    for item in &listed {
        writeln!(out, "    {}", visible(item))?;
    }
    match count - listed.len() {
        0 => Ok(()),
        more => writeln!(out, "    and {more} more"),
    }
}
