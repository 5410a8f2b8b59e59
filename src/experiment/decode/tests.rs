use super::super::testing::{messages, section};
use super::*;
use crate::TableSpec;
use stage::StageSpec;
use train::TrainSpec;

fn decoded<T: DeserializeOwned + JsonSchema + 'static>(text: &str) -> (Option<T>, Vec<String>) {
    let mut report = Report::default();
    let decoded = decode(section(text), &mut report);
    assert_eq!(decoded.clean, report.is_clean());
    (decoded.spec, messages(report))
}

#[test]
fn a_valid_section_is_decoded() {
    let (spec, errors) = decoded::<TrainSpec>("epochs = 3\noptimizer.sgd = { lr = 0.5 }");
    assert_eq!((spec.unwrap().epochs, errors.len()), (3, 0));
}

#[test]
fn every_error_is_found_and_the_rest_is_decoded() {
    let (spec, errors) = decoded::<TrainSpec>(
        "epoch = 3\nbatch_size = 'x'\noptimizer.adamw = { lr = true, betas = [0.9] }\nschedule.cosin = {}\n\
         seed = -1\nselect = 'best'\npatience = 3\nloss = {}",
    );
    assert_eq!(spec.unwrap(), TrainSpec { patience: Some(3), ..TrainSpec::default() });
    assert_eq!(
        errors,
        [
            "unknown key `epoch`",
            "expected a non-negative integer, found string \"x\"",
            "expected a number, found boolean `true`",
            "expected an array of 2, found 1",
            "unknown value `cosin`",
            "expected a non-negative integer, found integer `-1`",
            "unknown value `best`",
            "expected exactly one choice, found none",
        ]
    );
}

#[test]
fn an_integer_that_no_number_holds_is_told_as_it_was_written() {
    let errors = |text: &str| decoded::<TrainSpec>(text).1;
    let message = "integer `99999999999999999999` is too large; an integer is below 2^64";
    assert_eq!(errors("epochs = 99999999999999999999"), [message]);
    assert_eq!(errors("optimizer.adamw = { lr = 99999999999999999999 }"), [message]);
    assert_eq!(errors("epochs = 1_0\nbatch_size = 0x10\nseed = +3"), <[&str; 0]>::default());
}

#[test]
fn a_missing_key_is_replaced_by_a_placeholder() {
    let (spec, errors) = decoded::<TableSpec>("rows = 3");
    let spec = spec.unwrap();
    assert_eq!((spec.rows.as_str(), spec.from.len(), spec.metrics.len()), ("model", 0, 0));
    assert_eq!(
        errors,
        ["missing key `from`", "missing key `metrics`", "expected a string, found integer `3`"]
    );
}

#[test]
fn a_misspelled_key_is_not_also_missing() {
    let (spec, errors) = decoded::<StageSpec>("finetune = { form = 'a', dataset = 'b' }");
    assert!(spec.is_some());
    assert_eq!(errors, ["unknown key `form`"]);
}

#[test]
fn a_wrong_choice_is_not_also_missing_and_hides_nothing() {
    let (spec, errors) =
        decoded::<StageSpec>("pretrain = { backbone = { resnet19 = {} }, dataset = 'b', head = 1 }");
    assert_eq!(spec.unwrap().datasets()[0].dataset, "b");
    assert_eq!(errors, ["unknown value `resnet19`", "unknown key `head`"]);
    let (spec, errors) = decoded::<StageSpec>("merge = { sources = ['a', 3], method = { learned = {} } }");
    assert!(spec.is_some());
    assert_eq!(errors, ["expected a string, found integer `3`", "missing key `weights`"]);
}

#[test]
fn a_section_that_is_not_a_table_is_not_decoded() {
    for text in ["finetune = 3", "finetune = 'x'", "finetune = 1979-05-27"] {
        let (_, errors) = decoded::<StageSpec>(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    }
}
