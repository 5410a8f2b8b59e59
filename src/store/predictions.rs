//! `<model>.<data set>.predictions.csv`: one row per image, `image,label,predicted,p_0,…`.

use csv::StringRecord;

use super::ContentError;
use super::csv_rows::{parse, rows, to_bytes};
use identity::Fingerprint;
use stage::Prediction;

/// Columns before the probabilities.
const FIRST: [&str; 3] = ["image", "label", "predicted"];

/// Encode a prediction as CSV; probabilities in the shortest round-trip form.
pub(super) fn encode(prediction: &Prediction) -> Result<Vec<u8>, ContentError> {
    let Prediction { images, labels, probabilities, .. } = prediction;
    let classes = probabilities.first().map_or(0, Vec::len);
    let even = probabilities.iter().all(|row| row.len() == classes);
    if images.len() != labels.len() || images.len() != probabilities.len() || !even {
        let problem = format!(
            "numbers of images ({}), labels ({}) and rows of probabilities ({}) differ",
            images.len(),
            labels.len(),
            probabilities.len()
        );
        return Err(ContentError::Malformed(problem));
    }
    let names = FIRST.iter().map(|name| (*name).to_string());
    let header = names.chain((0..classes).map(|class| format!("p_{class}"))).collect();
    let cells = |i: usize| {
        let row = &probabilities[i];
        let first = [images[i].clone(), labels[i].to_string(), most_likely(row).to_string()];
        first.into_iter().chain(row.iter().map(|p| format!("{p:?}"))).collect()
    };
    to_bytes(std::iter::once(header).chain((0..images.len()).map(cells)))
}

/// Decode a CSV written by [`encode`], given the fingerprints of the model and the data set.
pub(super) fn decode(
    bytes: &[u8],
    model: Fingerprint,
    dataset: Fingerprint,
) -> Result<Prediction, ContentError> {
    let (header, rows) = rows(bytes)?;
    let probabilities =
        |row: &StringRecord| (FIRST.len()..header.len()).map(|i| parse(&header, row, i)).collect();
    Ok(Prediction {
        model,
        dataset,
        images: rows.iter().map(|row| parse(&header, row, 0)).collect::<Result<_, _>>()?,
        labels: rows.iter().map(|row| parse(&header, row, 1)).collect::<Result<_, _>>()?,
        probabilities: rows.iter().map(probabilities).collect::<Result<_, _>>()?,
    })
}

/// The class of the highest probability; the first on ties.
fn most_likely(probabilities: &[f32]) -> usize {
    let best = probabilities.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Fingerprint {
        Fingerprint::of_parts([name])
    }

    fn prediction() -> Prediction {
        Prediction {
            model: named("m"),
            dataset: named("d"),
            images: vec!["test/0".into(), "a, \"quoted\" name".into()],
            labels: vec![1, 0],
            probabilities: vec![vec![0.1, 0.9], vec![0.5, 0.5]],
        }
    }

    #[test]
    fn predictions_read_back_as_they_were_written() {
        let bytes = encode(&prediction()).unwrap();
        assert_eq!(decode(&bytes, named("m"), named("d")).unwrap(), prediction());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "image,label,predicted,p_0,p_1\ntest/0,1,1,0.1,0.9\n\"a, \"\"quoted\"\" name\",0,0,0.5,0.5\n"
        );
    }

    #[test]
    fn every_float_survives() {
        let odd = vec![f32::MIN_POSITIVE, 1e-45, 0.1 + 0.2, 1.0 - f32::EPSILON, 1.0 / 3.0];
        let all = Prediction {
            images: vec!["x".into()],
            labels: vec![0],
            probabilities: vec![odd],
            ..prediction()
        };
        assert_eq!(decode(&encode(&all).unwrap(), named("m"), named("d")).unwrap(), all);
    }

    #[test]
    fn no_image_gives_a_header_alone() {
        let none = Prediction { images: vec![], labels: vec![], probabilities: vec![], ..prediction() };
        assert_eq!(decode(&encode(&none).unwrap(), named("m"), named("d")).unwrap(), none);
    }

    #[test]
    fn different_numbers_of_rows_are_an_error() {
        let short = Prediction { labels: vec![1], ..prediction() };
        assert!(encode(&short).unwrap_err().to_string().contains("images (2), labels (1)"));
    }
}
