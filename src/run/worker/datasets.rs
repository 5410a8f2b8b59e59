//! Data sets that a worker keeps in memory for later stages.

use std::sync::Arc;

use dataset::{Dataset, Pixels, Split, SplitName};
use identity::Fingerprint;

/// Maximum size in bytes. Memory-mapped files do not count: the system can evict them.
const MAX_BYTES: usize = 1 << 30;

/// The most recently used data sets, up to a total size.
#[derive(Debug)]
pub(super) struct Datasets {
    max_bytes: usize,
    /// Most recently used last.
    loaded: Vec<(Fingerprint, Arc<Dataset>)>,
}

impl Default for Datasets {
    fn default() -> Self {
        Self { max_bytes: MAX_BYTES, loaded: Vec::new() }
    }
}

impl Datasets {
    /// A data set, if it is kept.
    pub(super) fn get(&mut self, fingerprint: &Fingerprint) -> Option<Arc<Dataset>> {
        let position = self.loaded.iter().position(|(kept, _)| kept == fingerprint)?;
        let found = self.loaded.remove(position);
        let dataset = Arc::clone(&found.1);
        self.loaded.push(found);
        Some(dataset)
    }

    /// Keep a data set; drop the least recently used ones until the rest fits.
    pub(super) fn keep(&mut self, fingerprint: Fingerprint, dataset: &Arc<Dataset>) {
        self.loaded.push((fingerprint, Arc::clone(dataset)));
        while self.bytes() > self.max_bytes {
            self.loaded.remove(0);
        }
    }

    fn bytes(&self) -> usize {
        self.loaded.iter().map(|(_, dataset)| bytes(dataset)).sum()
    }
}

fn bytes(dataset: &Dataset) -> usize {
    SplitName::ALL.iter().map(|&name| split_bytes(dataset.split(name))).sum()
}

fn split_bytes(Split { pixels, labels, names, groups }: &Split) -> usize {
    let pixels = match pixels {
        Pixels::Owned(bytes) => bytes.len(),
        Pixels::Mapped(..) => 0,
    };
    let names: usize = names.iter().map(|name| size_of_val(name) + name.len()).sum();
    let groups = groups.as_deref().map_or(0, size_of_val);
    pixels + labels.bytes() + names + groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(pixels: usize) -> Arc<Dataset> {
        let split = |pixels: usize| Split {
            pixels: Pixels::Owned(vec![0; pixels].into()),
            labels: Vec::new().into(),
            names: Vec::new(),
            groups: None,
        };
        let (train, val, test) = (split(pixels), split(0), split(0));
        Arc::new(Dataset { classes: Vec::new(), size: 1, pixels: None, train, val, test })
    }

    fn name(number: usize) -> Fingerprint {
        Fingerprint::of_parts([number.to_string().as_str()])
    }

    #[test]
    fn the_most_recently_used_data_sets_are_kept_within_the_limit() {
        let mut datasets = Datasets { max_bytes: 10, ..Datasets::default() };
        [4, 5].into_iter().for_each(|bytes| datasets.keep(name(bytes), &dataset(bytes)));
        assert!(datasets.get(&name(4)).is_some());
        datasets.keep(name(3), &dataset(3));
        let kept = [3, 4, 5].map(|bytes| datasets.get(&name(bytes)).is_some());
        assert_eq!(kept, [true, true, false], "5 is the least recently used");
        datasets.keep(name(11), &dataset(11));
        assert_eq!(datasets.bytes(), 0, "it exceeds the limit by itself");
    }
}
