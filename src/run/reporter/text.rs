//! Text that reporters share.

use train::{EpochRecord, Progress};

/// `4.2 s`, `3 min 05 s`, `2 h 07 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 if seconds < 9.95 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// A name on one line: control characters are escaped, as in `\u{1b}`.
pub fn one_line(text: &str) -> String {
    escaped(text, char::is_control)
}

/// A message, which may have several lines: other control characters are escaped.
pub fn printable(text: &str) -> String {
    escaped(text, |c| c.is_control() && c != '\n')
}

fn escaped(text: &str, escapes: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match escapes(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Progress of a stage: `epoch 2/8, 64/512 images, loss 0.693, 95 images/s, 40 s left`.
pub fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Step { epoch, epochs, images, of, loss, images_per_second } => {
            let left = time_left(progress).map(|left| format!(", {} left", duration(left)));
            format!(
                "epoch {}/{epochs}, {images}/{of} images, loss {loss:.4}, {images_per_second:.0} images/s{}",
                epoch + 1,
                left.unwrap_or_default()
            )
        }
        Progress::Epoch(record) => epoch(record),
        Progress::Count { done, of, what } => format!("{done}/{of} {}", one_line(what)),
    }
}

/// `epoch 3: loss 0.4121, lr 9.200e-4, val macro_f1 0.8123, accuracy 0.8400 (best so far)`.
pub fn epoch(record: &EpochRecord) -> String {
    let EpochRecord { epoch, lr, train_loss, best, .. } = record;
    let scores = validation(record).map(|scores| format!(", {scores}")).unwrap_or_default();
    let best = if *best { " (best so far)" } else { "" };
    format!("epoch {}: loss {train_loss:.4}, lr {lr:.3e}{scores}{best}", epoch + 1)
}

/// `val macro_f1 0.8123, accuracy 0.8400`; `None` without validation.
pub(super) fn validation(record: &EpochRecord) -> Option<String> {
    let scores: Vec<_> =
        record.val.iter().map(|(name, score)| format!("{} {score:.4}", one_line(name))).collect();
    (!scores.is_empty()).then(|| format!("val {}", scores.join(", ")))
}

/// Seconds until the last epoch ends, at the throughput so far.
pub(super) fn time_left(progress: &Progress) -> Option<f64> {
    match *progress {
        Progress::Step { epoch, epochs, images, of, images_per_second, .. } if images_per_second > 0.0 => {
            let images_left = (epochs.saturating_sub(epoch) * of).saturating_sub(images);
            Some(images_left as f64 / images_per_second)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_sensible_precision() {
        let texts = [0.04, 4.26, 9.96, 59.4, 59.9, 185.0, 7_650.0].map(duration);
        assert_eq!(texts, ["0.0 s", "4.3 s", "10 s", "59 s", "1 min 00 s", "3 min 05 s", "2 h 07 min"]);
    }

    #[test]
    fn the_time_left_includes_later_epochs() {
        let step =
            Progress::Step { epoch: 1, epochs: 3, images: 50, of: 100, loss: 0.5, images_per_second: 10.0 };
        assert_eq!(time_left(&step), Some(15.0));
        assert_eq!(progress(&step), "epoch 2/3, 50/100 images, loss 0.5000, 10 images/s, 15 s left");
    }
}
