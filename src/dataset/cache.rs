//! Decoded pixels of all three splits, computed in parallel and cached between runs.
//!
//! The file `pixels` of a cache folder is a header of 80 bytes followed by the images of train, val and test:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `mmpixels` |
//! | 8..48 | revision of the kind of data set, side in pixels, number of images of train, val and test; u64, little endian |
//! | 48..80 | blake3 of everything that follows |
//!
//! Where training images are larger, their side is in the upper half of the side.
//!
//! It is written to a temporary file, flushed and renamed, so it is complete or absent. The writer holds a lock on it,
//! so that garbage collection does not remove it. A file that was truncated or damaged, or written by another revision,
//! is recreated.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::assemble::PerSplit;
use super::{DataError, Pixels};

const MAGIC: &[u8; 8] = b"mmpixels";
const LAYOUT_BYTES: usize = 48;
const HEADER_BYTES: usize = LAYOUT_BYTES + blake3::OUT_LEN;

/// Number of images decoded before they are written: limits memory for large data sets.
const BLOCK: usize = 1024;

/// What the cached pixels must match, besides the content digest that names the folder.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// [`super::Source::revision`].
    pub(super) revision: u32,
    /// Side in pixels of the images of each split; val and test have the same.
    pub(super) sides: PerSplit<usize>,
    /// Number of images of each split.
    pub(super) counts: PerSplit<usize>,
}

impl Layout {
    fn image_bytes(&self) -> PerSplit<usize> {
        self.sides.map(|side| side * side * 3)
    }

    fn file_bytes(&self) -> usize {
        let splits = self.counts.iter().zip(self.image_bytes());
        HEADER_BYTES + splits.map(|(count, bytes)| count * bytes).sum::<usize>()
    }

    /// The sides as one number.
    fn packed_sides(&self) -> usize {
        let [train, _, size] = self.sides;
        if train == size { size } else { train << 32 | size }
    }

    fn to_bytes(self) -> [u8; LAYOUT_BYTES] {
        let mut bytes = [0; LAYOUT_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        let [train, val, test] = self.counts;
        let fields = [self.revision as usize, self.packed_sides(), train, val, test];
        for (field, slot) in fields.iter().zip(bytes[8..].chunks_exact_mut(8)) {
            slot.copy_from_slice(&(*field as u64).to_le_bytes());
        }
        bytes
    }
}

/// Writes image `index` of a split into the `[side, side, 3]` bytes.
pub(super) type DrawImage<'a> = dyn Fn(usize, &mut [u8]) -> Result<(), DataError> + Sync + 'a;

/// Destination of images: [`Sink::draw`] is called once per split, in order.
pub(super) struct Sink {
    layout: Layout,
    /// Number of splits that were drawn.
    splits: usize,
    drawn: Vec<Pixels>,
    file: Option<CacheFile>,
}

struct CacheFile {
    file: NamedTempFile,
    hasher: blake3::Hasher,
}

/// The pixels of a data set: from `cache` if present there, otherwise from `draw`, which draws each split.
///
/// If the cache cannot be written, a warning is logged and the pixels are only kept in memory.
///
/// # Errors
/// Those of `draw`.
pub(super) fn pixels(
    cache: Option<&Path>,
    layout: Layout,
    draw: impl Fn(&mut Sink) -> Result<(), DataError>,
) -> Result<PerSplit<Pixels>, DataError> {
    let Some(folder) = cache else { return in_memory(layout, draw) };
    if let Some(pixels) = open(folder, layout) {
        return Ok(pixels);
    }
    match create(folder, layout) {
        Ok(file) => write(folder, Sink::new(layout, Some(file)), draw),
        Err(error) => {
            tracing::warn!("failed to write decoded images to {}: {error}", folder.display());
            in_memory(layout, draw)
        }
    }
}

fn in_memory(
    layout: Layout,
    draw: impl Fn(&mut Sink) -> Result<(), DataError>,
) -> Result<PerSplit<Pixels>, DataError> {
    let mut sink = Sink::new(layout, None);
    draw(&mut sink)?;
    Ok(sink.drawn.try_into().expect("each of the three splits was drawn"))
}

fn write(
    folder: &Path,
    mut sink: Sink,
    draw: impl Fn(&mut Sink) -> Result<(), DataError>,
) -> Result<PerSplit<Pixels>, DataError> {
    draw(&mut sink)?;
    let file = sink.file.expect("it was made with one");
    let published = file.publish(folder, sink.layout);
    let _locked = published.map_err(|error| DataError::io(folder, "write decoded images", &error))?;
    open(folder, sink.layout).ok_or_else(|| {
        DataError::new(folder, "the decoded images changed while they were written; check the disk")
    })
}

/// The pixels of a complete, undamaged cache file with this layout.
fn open(folder: &Path, layout: Layout) -> Option<PerSplit<Pixels>> {
    let path = folder.join("pixels");
    let map = map(&path).ok()?;
    if !is_whole(&map, layout) {
        tracing::warn!("{} is damaged or out of date; recreating it", path.display());
        return None;
    }
    let map = Arc::new(map);
    let (mut start, image_bytes) = (HEADER_BYTES, layout.image_bytes());
    Some(std::array::from_fn(|split| {
        let end = start + layout.counts[split] * image_bytes[split];
        Pixels::Mapped(map.clone(), std::mem::replace(&mut start, end)..end)
    }))
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: a file of decoded images is never written in place; it is only ever replaced by renaming another over it.
    unsafe { Mmap::map(&file) }
}

fn is_whole(bytes: &[u8], layout: Layout) -> bool {
    bytes.len() == layout.file_bytes() && bytes[..LAYOUT_BYTES] == layout.to_bytes() && has_its_digest(bytes)
}

fn has_its_digest(bytes: &[u8]) -> bool {
    bytes[LAYOUT_BYTES..HEADER_BYTES] == *blake3::hash(&bytes[HEADER_BYTES..]).as_bytes()
}

/// Whether a file of decoded images matches its digest, regardless of layout and revision.
pub fn is_intact(path: &Path) -> io::Result<bool> {
    let bytes = map(path)?;
    let (header, images) = bytes.split_at(HEADER_BYTES.min(bytes.len()));
    Ok(header.len() == HEADER_BYTES
        && header.starts_with(MAGIC)
        && bytes_told(header) == Some(images.len() as u64)
        && has_its_digest(&bytes))
}

/// Total length of the images in bytes, according to the header.
fn bytes_told(header: &[u8]) -> Option<u64> {
    let fields = header[MAGIC.len()..LAYOUT_BYTES].as_chunks::<8>().0;
    let [_revision, sides, train, val, test] = *fields else { return None };
    let [sides, train, val, test] = [sides, train, val, test].map(u64::from_le_bytes);
    let (size, train_side) = (sides & u64::from(u32::MAX), sides >> 32);
    let of = |side: u64, images: u64| side.checked_mul(side)?.checked_mul(3)?.checked_mul(images);
    let train = of(if train_side == 0 { size } else { train_side }, train)?;
    train.checked_add(of(size, val.checked_add(test)?)?)
}

fn create(folder: &Path, layout: Layout) -> io::Result<CacheFile> {
    std::fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.as_file().lock()?;
    // It may have been removed by garbage collection before it was locked.
    file.path().metadata()?;
    file.write_all(&layout.to_bytes())?;
    file.write_all(&[0; blake3::OUT_LEN])?;
    Ok(CacheFile { file, hasher: blake3::Hasher::new() })
}

impl CacheFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    /// Renames the file into place. It stays locked until the returned file is dropped.
    fn publish(mut self, folder: &Path, layout: Layout) -> io::Result<File> {
        self.file.seek(SeekFrom::Start(layout.to_bytes().len() as u64))?;
        self.file.write_all(self.hasher.finalize().as_bytes())?;
        self.file.as_file().sync_all()?;
        let file = self.file.persist(folder.join("pixels"))?;
        File::open(folder)?.sync_all()?;
        Ok(file)
    }
}

impl Sink {
    fn new(layout: Layout, file: Option<CacheFile>) -> Self {
        Self { layout, splits: 0, drawn: Vec::new(), file }
    }

    /// Draws the `count` images of the next split, in parallel.
    ///
    /// # Errors
    /// The first image, in order, that cannot be drawn; a full disk.
    pub(super) fn draw(&mut self, count: usize, image: &DrawImage) -> Result<(), DataError> {
        let bytes = self.layout.image_bytes()[self.splits];
        self.splits += 1;
        let Some(file) = &mut self.file else {
            let mut pixels = zeros(count.saturating_mul(bytes))?;
            draw_block(&mut pixels, bytes, 0, image)?;
            self.drawn.push(Pixels::Owned(pixels.into()));
            return Ok(());
        };
        let mut block = Vec::new();
        for start in (0..count).step_by(BLOCK) {
            let length = BLOCK.min(count - start) * bytes;
            if block.len() != length {
                block = zeros(length)?;
            }
            draw_block(&mut block, bytes, start, image)?;
            let path = file.file.path().to_owned();
            file.append(&block).map_err(|error| DataError::io(&path, "write decoded images", &error))?;
        }
        Ok(())
    }
}

/// # Errors
/// Out of memory.
fn zeros(bytes: usize) -> Result<Vec<u8>, DataError> {
    let mut zeros = Vec::new();
    let room = zeros.try_reserve_exact(bytes);
    room.map_err(|_| {
        let message = format!("out of memory: they take {bytes} bytes; use fewer or smaller images");
        DataError::new(Path::new("decoded images"), message)
    })?;
    zeros.resize(bytes, 0);
    Ok(zeros)
}

fn draw_block(pixels: &mut [u8], bytes: usize, start: usize, image: &DrawImage) -> Result<(), DataError> {
    let images = pixels.par_chunks_exact_mut(bytes).enumerate();
    let outcomes: Vec<_> = images.map(|(offset, out)| image(start + offset, out)).collect();
    outcomes.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LAYOUT: Layout = Layout { revision: 1, sides: [2; 3], counts: [3, 0, 1] };

    /// Draws images with all bytes equal to their index, and counts the images drawn.
    fn draw(drawn: &AtomicUsize) -> impl Fn(&mut Sink) -> Result<(), DataError> {
        |sink| {
            for count in LAYOUT.counts {
                sink.draw(count, &|index, out| {
                    drawn.fetch_add(1, Ordering::Relaxed);
                    out.fill(index as u8);
                    Ok(())
                })?;
            }
            Ok(())
        }
    }

    fn load(folder: &Path, layout: Layout) -> (PerSplit<Vec<u8>>, usize) {
        let drawn = AtomicUsize::new(0);
        let pixels = pixels(Some(folder), layout, draw(&drawn)).unwrap();
        (pixels.map(|split| split.to_vec()), drawn.into_inner())
    }

    #[test]
    fn images_are_drawn_once_and_then_read() {
        let folder = tempfile::tempdir().unwrap();
        let (first, drawn) = load(&folder.path().join("new"), LAYOUT);
        assert_eq!((first[0].len(), first[1].len(), drawn), (36, 0, 4));
        assert_eq!((first[0][24], first[2][0]), (2, 0));
        assert_eq!(load(&folder.path().join("new"), LAYOUT), (first.clone(), 0));
        let uncached = pixels(None, LAYOUT, draw(&AtomicUsize::new(0))).unwrap();
        assert_eq!(uncached.map(|split| split.to_vec()), first);
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_or_outdated_cache_is_recreated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pixels");
        let (first, _) = load(folder.path(), LAYOUT);
        let whole = std::fs::read(&file).unwrap();
        let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
        for damaged in [vec![], whole[..whole.len() - 1].to_vec(), flipped(0), flipped(50), flipped(90)] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(load(folder.path(), LAYOUT), (first.clone(), 4));
            assert_eq!(std::fs::read(&file).unwrap(), whole);
        }
        assert_eq!(load(folder.path(), Layout { revision: 2, ..LAYOUT }).1, 4);
    }

    #[test]
    fn damage_is_detected_without_the_layout() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pixels");
        load(folder.path(), LAYOUT);
        assert!(is_intact(&file).unwrap());
        let whole = std::fs::read(&file).unwrap();
        let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 0x80], &whole[at + 1..]].concat();
        let cut = |at: usize| whole[..at].to_vec();
        for damaged in
            [cut(0), cut(40), cut(80), flipped(0), flipped(23), flipped(25), flipped(50), flipped(90)]
        {
            std::fs::write(&file, damaged).unwrap();
            assert!(!is_intact(&file).unwrap());
        }
    }

    #[test]
    fn training_images_may_be_larger() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout { sides: [4, 2, 2], ..LAYOUT };
        let (first, drawn) = load(folder.path(), layout);
        assert_eq!((first.each_ref().map(Vec::len), first[0][2 * 48], drawn), ([3 * 48, 0, 12], 2, 4));
        assert_eq!(load(folder.path(), layout), (first, 0));
        assert!(is_intact(&folder.path().join("pixels")).unwrap());
        assert_eq!(load(folder.path(), LAYOUT).1, 4, "another layout");
    }

    #[test]
    fn a_file_is_locked_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let held = |file: &Path| File::open(file).unwrap().try_lock().is_err();
        let written = create(folder.path(), LAYOUT).unwrap();
        assert!(held(written.file.path()));
        let published = written.publish(folder.path(), LAYOUT).unwrap();
        assert!(held(&folder.path().join("pixels")));
        drop(published);
        assert!(!held(&folder.path().join("pixels")));
    }

    #[test]
    fn the_first_image_that_fails_is_reported_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let failing = |sink: &mut Sink| {
            sink.draw(3, &|index, _| match index {
                0 => Ok(()),
                _ => Err(DataError::new(Path::new("set"), format!("image {index}"))),
            })
        };
        let error = pixels(Some(folder.path()), LAYOUT, failing).unwrap_err();
        assert_eq!(error.message, "image 1");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn f22_running_out_of_memory_is_an_error() {
        let layout = Layout { revision: 1, sides: [1 << 30; 3], counts: [1 << 20, 0, 0] };
        let error = pixels(None, layout, |sink| sink.draw(1 << 20, &|_, _| Ok(()))).unwrap_err();
        assert!(error.to_string().starts_with("decoded images: out of memory: they take "), "{error}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_not_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(load(&file.join("below"), LAYOUT).1, 4);
    }
}
