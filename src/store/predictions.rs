//! `<model>.<data set>.predictions.csv`: one row per image, `image,label,predicted,p_0,…`.

use csv::StringRecord;

use super::ContentError;
use super::csv_rows::{parse, rows, to_bytes};
use dataset::{Labels, MultiLabels, State};
use identity::Fingerprint;
use stage::Prediction;

/// Columns before the probabilities if each image has one class.
const FIRST: [&str; 3] = ["image", "label", "predicted"];

/// The start of the columns of labels in a multi-label data set.
const LABEL: &str = "label_";

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
    let names = first_columns(labels).into_iter();
    let header = names.chain((0..classes).map(|class| format!("p_{class}"))).collect();
    let cells = |i: usize| {
        let row = &probabilities[i];
        let first = std::iter::once(images[i].clone()).chain(label_cells(labels, i, row));
        first.chain(row.iter().map(|p| format!("{p:?}"))).collect()
    };
    to_bytes(std::iter::once(header).chain((0..images.len()).map(cells)))
}

fn first_columns(labels: &Labels) -> Vec<String> {
    match labels {
        Labels::Single(_) => FIRST.map(Into::into).into(),
        Labels::Multi(labels) => {
            let label = (0..labels.classes()).map(|class| format!("{LABEL}{class}"));
            std::iter::once(FIRST[0].to_owned()).chain(label).collect()
        }
    }
}

/// The label and the predicted class of an image, or 1, 0 or nothing for each class.
fn label_cells(labels: &Labels, image: usize, probabilities: &[f32]) -> Vec<String> {
    match labels {
        Labels::Single(labels) => vec![labels[image].to_string(), most_likely(probabilities).to_string()],
        Labels::Multi(labels) => labels.row(image).iter().map(|state| cell(*state).to_owned()).collect(),
    }
}

fn cell(state: State) -> &'static str {
    match state.known() {
        Some(true) => "1",
        Some(false) => "0",
        None => "",
    }
}

/// Decode a CSV written by [`encode`], given the fingerprints of the model and the data set.
pub(super) fn decode(
    bytes: &[u8],
    model: Fingerprint,
    dataset: Fingerprint,
) -> Result<Prediction, ContentError> {
    let (header, rows) = rows(bytes)?;
    let classes = header.iter().filter(|name| name.starts_with(LABEL)).count();
    let first = if classes == 0 { FIRST.len() } else { 1 + classes };
    let probabilities = |row: &StringRecord| (first..header.len()).map(|i| parse(&header, row, i)).collect();
    let labels = match classes {
        0 => Labels::Single(rows.iter().map(|row| parse(&header, row, 1)).collect::<Result<_, _>>()?),
        classes => Labels::Multi(multi_labels(&rows, classes)?),
    };
    Ok(Prediction {
        model,
        dataset,
        images: rows.iter().map(|row| parse(&header, row, 0)).collect::<Result<_, _>>()?,
        labels,
        probabilities: rows.iter().map(probabilities).collect::<Result<_, _>>()?,
    })
}

fn multi_labels(rows: &[StringRecord], classes: usize) -> Result<MultiLabels, ContentError> {
    let mut labels = MultiLabels::new(classes);
    for row in rows {
        let states = row.iter().skip(1).take(classes).map(|text| {
            let states = [State::Absent, State::Present, State::Unknown];
            let state = states.into_iter().find(|state| cell(*state) == text);
            state.ok_or_else(|| ContentError::Malformed(format!("the label '{text}' is not 0, 1 or empty")))
        });
        let states: Vec<State> = states.collect::<Result<_, _>>()?;
        match states.len() == classes {
            true => labels.push(&states),
            false => return Err(ContentError::Malformed("a row has too few labels".to_owned())),
        }
    }
    Ok(labels)
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
            labels: vec![1, 0].into(),
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
    fn labels_of_several_classes_read_back_and_damaged_ones_are_refused() {
        let mut labels = MultiLabels::new(2);
        labels.push(&[State::Present, State::Unknown]);
        labels.push(&[State::Absent, State::Present]);
        let several = Prediction { labels: Labels::Multi(labels), ..prediction() };
        let bytes = encode(&several).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("image,label_0,label_1,p_0,p_1\ntest/0,1,,0.1,0.9\n"), "{text}");
        let decoded = |text: &str| decode(text.as_bytes(), named("m"), named("d"));
        assert_eq!(decoded(&text).unwrap(), several);
        let error = decoded(&text.replace("test/0,1,", "test/0,2,")).unwrap_err().to_string();
        assert!(error.contains("the label '2' is not 0, 1 or empty"), "{error}");
        let Labels::Multi(labels) = &several.labels else { panic!("several labels") };
        let none = Labels::Multi(labels.at(&[]));
        let none = Prediction { images: vec![], labels: none, probabilities: vec![], ..several };
        assert_eq!(decode(&encode(&none).unwrap(), named("m"), named("d")).unwrap(), none);
    }

    #[test]
    fn every_float_survives() {
        let odd = vec![f32::MIN_POSITIVE, 1e-45, 0.1 + 0.2, 1.0 - f32::EPSILON, 1.0 / 3.0];
        let all = Prediction {
            images: vec!["x".into()],
            labels: vec![0].into(),
            probabilities: vec![odd],
            ..prediction()
        };
        assert_eq!(decode(&encode(&all).unwrap(), named("m"), named("d")).unwrap(), all);
    }

    #[test]
    fn no_image_gives_a_header_alone() {
        let none =
            Prediction { images: vec![], labels: vec![].into(), probabilities: vec![], ..prediction() };
        assert_eq!(decode(&encode(&none).unwrap(), named("m"), named("d")).unwrap(), none);
    }

    #[test]
    fn different_numbers_of_rows_are_an_error() {
        let short = Prediction { labels: vec![1].into(), ..prediction() };
        assert!(encode(&short).unwrap_err().to_string().contains("images (2), labels (1)"));
    }
}
