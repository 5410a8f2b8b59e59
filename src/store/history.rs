//! `history.csv`: one row per epoch, `epoch,lr,train_loss,val_<score>…,best`.

use csv::StringRecord;
use indexmap::{IndexMap, IndexSet};

use super::ContentError;
use super::csv_rows::{parse, rows, to_bytes};
use train::EpochRecord;

/// Encode as CSV; floats in the shortest round-trip form. Missing scores of an epoch are empty.
pub(super) fn encode(history: &[EpochRecord]) -> Result<Vec<u8>, ContentError> {
    let scores: IndexSet<&String> = history.iter().flat_map(|record| record.val.keys()).collect();
    let mut header = vec!["epoch".to_string(), "lr".into(), "train_loss".into()];
    header.extend(scores.iter().map(|score| format!("val_{score}")));
    header.push("best".into());
    let cells = |record: &EpochRecord| {
        let mut row =
            vec![record.epoch.to_string(), format!("{:?}", record.lr), format!("{:?}", record.train_loss)];
        let score =
            |name: &&String| record.val.get(*name).map_or(String::new(), |score| format!("{score:?}"));
        row.extend(scores.iter().map(score));
        row.push(record.best.to_string());
        row
    };
    to_bytes(std::iter::once(header).chain(history.iter().map(cells)))
}

/// Decode a CSV written by [`encode`].
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<EpochRecord>, ContentError> {
    let (header, rows) = rows(bytes)?;
    rows.iter().map(|row| record(&header, row)).collect()
}

fn record(header: &StringRecord, row: &StringRecord) -> Result<EpochRecord, ContentError> {
    let scores = header.iter().enumerate().filter_map(|(i, name)| Some((i, name.strip_prefix("val_")?)));
    let made = scores.filter(|(i, _)| row.get(*i).is_some_and(|cell| !cell.is_empty()));
    let val = made.map(|(i, name)| Ok((name.to_string(), parse(header, row, i)?)));
    Ok(EpochRecord {
        epoch: parse(header, row, 0)?,
        lr: parse(header, row, 1)?,
        train_loss: parse(header, row, 2)?,
        val: val.collect::<Result<IndexMap<_, _>, ContentError>>()?,
        best: parse(header, row, header.len() - 1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, val: &[(&str, f64)]) -> EpochRecord {
        let val = val.iter().map(|(name, score)| ((*name).to_string(), *score)).collect();
        EpochRecord { epoch, lr: 1e-7, train_loss: 1.0 / 3.0, val, best: epoch == 0 }
    }

    #[test]
    fn a_history_reads_back_as_it_was_written() {
        let history = [epoch(0, &[("macro_f1", 0.5), ("auroc", 1.0)]), epoch(1, &[("macro_f1", 0.25)])];
        let bytes = encode(&history).unwrap();
        assert_eq!(decode(&bytes).unwrap(), history);
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "epoch,lr,train_loss,val_macro_f1,val_auroc,best\n\
             0,1e-7,0.3333333333333333,0.5,1.0,true\n\
             1,1e-7,0.3333333333333333,0.25,,false\n"
        );
    }

    #[test]
    fn training_without_validation_has_no_score_columns() {
        let history = [epoch(0, &[])];
        assert_eq!(decode(&encode(&history).unwrap()).unwrap(), history);
    }
}
