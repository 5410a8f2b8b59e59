//! What is questionable about classes and their counts.

use super::{SplitName, Summary};

/// Training images below which a class is too small to learn.
const FEW: usize = 3;

impl Summary {
    /// Warnings about the classes, as the ends of sentences that start with the data set's name. Counts are those within
    /// a label budget, if it was applied.
    pub fn concerns(&self) -> Vec<String> {
        let alike = self.alike().map(|[a, b]| {
            format!("has the classes `{a}` and `{b}`, which differ only in case; if they are one, correct the labels")
        });
        alike.chain(self.rare()).collect()
    }

    /// Pairs of classes that differ only in case.
    fn alike(&self) -> impl Iterator<Item = [&str; 2]> {
        let lower: Vec<String> = self.classes.iter().map(|class| class.to_lowercase()).collect();
        self.classes.iter().enumerate().filter_map(move |(i, class)| {
            let first = lower[..i].iter().position(|other| *other == lower[i])?;
            Some([&self.classes[first] as &str, class])
        })
    }

    /// The classes with few training images. Without any training images, the data set is not for training.
    fn rare(&self) -> Option<String> {
        let counts = &self.counts[SplitName::Train as usize];
        let rare = self.classes.iter().zip(counts).filter(|(_, count)| **count < FEW);
        let rare: Vec<String> = rare.map(|(class, count)| format!("`{class}` ({count})")).collect();
        let any = counts.iter().any(|count| *count > 0);
        (any && !rare.is_empty())
            .then(|| format!("has fewer than {FEW} training images of {}; add some", rare.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concerns(classes: &[&str], train: &[usize]) -> Vec<String> {
        let counts = [train.to_vec(), vec![9; train.len()], vec![9; train.len()]];
        let classes = classes.iter().map(|&class| class.into()).collect();
        Summary {
            classes,
            counts,
            multi_label: None,
            digest: String::new(),
            warnings: Vec::new(),
            caveats: Vec::new(),
            train_groups: None,
        }
        .concerns()
    }

    #[test]
    fn f02_classes_that_differ_in_case_or_have_few_images_are_questionable() {
        assert_eq!(
            concerns(&["MEL", "mel", "nv"], &[3, 2, 1]),
            [
                "has the classes `MEL` and `mel`, which differ only in case; if they are one, correct the labels",
                "has fewer than 3 training images of `mel` (2), `nv` (1); add some",
            ]
        );
        assert_eq!(concerns(&["mel", "nv"], &[3, 3]), [""; 0]);
        assert_eq!(concerns(&["mel", "nv"], &[0, 0]), [""; 0], "not for training");
    }
}
