//! Data sets that a worker keeps in memory for the stages to come.

use std::sync::Arc;

use dataset::{Dataset, Pixels, Split, SplitName};
use identity::Fingerprint;

/// Bytes of memory that are kept; mapped files take none, as the system takes them back when it needs them.
const MOST_BYTES: usize = 1 << 30;

/// The data sets that were used last, as many as have room together.
#[derive(Debug)]
pub(super) struct Datasets {
    most_bytes: usize,
    /// The one that was used last at the end.
    loaded: Vec<(Fingerprint, Arc<Dataset>)>,
}

impl Default for Datasets {
    fn default() -> Self {
        Self { most_bytes: MOST_BYTES, loaded: Vec::new() }
    }
}

impl Datasets {
    /// One that is kept.
    pub(super) fn get(&mut self, fingerprint: &Fingerprint) -> Option<Arc<Dataset>> {
        let position = self.loaded.iter().position(|(kept, _)| kept == fingerprint)?;
        let found = self.loaded.remove(position);
        let dataset = Arc::clone(&found.1);
        self.loaded.push(found);
        Some(dataset)
    }

    /// Keeps one, and lets go of those that were not used for longest until all have room.
    pub(super) fn keep(&mut self, fingerprint: Fingerprint, dataset: &Arc<Dataset>) {
        self.loaded.push((fingerprint, Arc::clone(dataset)));
        while self.bytes() > self.most_bytes {
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

fn split_bytes(Split { pixels, labels, names }: &Split) -> usize {
    let pixels = match pixels {
        Pixels::Owned(bytes) => bytes.len(),
        Pixels::Mapped(..) => 0,
    };
    let names: usize = names.iter().map(|name| size_of_val(name) + name.len()).sum();
    pixels + size_of_val(&labels[..]) + names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(pixels: usize) -> Arc<Dataset> {
        let split = |pixels: usize| Split {
            pixels: Pixels::Owned(vec![0; pixels].into()),
            labels: Vec::new(),
            names: Vec::new(),
        };
        let (train, val, test) = (split(pixels), split(0), split(0));
        Arc::new(Dataset { classes: Vec::new(), size: 1, train, val, test })
    }

    fn name(number: usize) -> Fingerprint {
        Fingerprint::of_parts([number.to_string().as_str()])
    }

    #[test]
    fn the_last_used_are_kept_as_far_as_they_have_room() {
        let mut datasets = Datasets { most_bytes: 10, ..Datasets::default() };
        [4, 5].into_iter().for_each(|bytes| datasets.keep(name(bytes), &dataset(bytes)));
        assert!(datasets.get(&name(4)).is_some());
        datasets.keep(name(3), &dataset(3));
        let kept = [3, 4, 5].map(|bytes| datasets.get(&name(bytes)).is_some());
        assert_eq!(kept, [true, true, false], "5 was not used for longest");
        datasets.keep(name(11), &dataset(11));
        assert_eq!(datasets.bytes(), 0, "it has no room even alone");
    }
}
