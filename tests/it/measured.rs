//! Merges that measure something, and label budgets, from the experiment file to the table.

use predicates::str::contains;

use crate::builder::Workplace;

const SOURCES: &str = r#"
[experiment]
name = "measured"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 24
val = 8
test = 10

[train]
epochs = 1
batch_size = 12

[stage.a.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 1

[stage.b.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 2
"#;

fn merge(method: &str, keys: &str) -> String {
    format!("{SOURCES}\n[stage.m.merge]\nsources = ['a', 'b']\n{method}\n{keys}\n")
}

#[test]
fn each_measuring_merge_is_made_and_evaluated_with_its_head() {
    let mut text = SOURCES.to_owned();
    let methods = [
        ("soup", "method.greedy_soup = { metric = 'log_loss' }\ndataset = 'cells'"),
        ("fisher", "method.fisher = { images = 5 }\ndataset = 'cells'"),
        ("regmean", "method.regmean = { images = 5 }\ndataset = 'cells'\nbatch_norm = 'merged'"),
        ("zipit", "method.zipit = { images = 5 }\ndataset = 'cells'"),
        ("pleas", "method.pleas = { images = 5 }\ndataset = 'cells'\nbatch_norm = 'merged'"),
    ];
    let mut models = String::new();
    for (name, method) in methods {
        text += &format!("[stage.{name}.merge]\nsources = ['a', 'b']\n{method}\n");
        models += &format!("{name} = '{name}', ");
    }
    text += &format!("[stage.scores.evaluate]\nmodels = {{ {models} }}\ndatasets = ['cells']\n");
    text += "[table.main]\nfrom = ['scores']\nmetrics = ['accuracy']\n";
    let workplace = Workplace::new(&text);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 8, fresh 0"));
    let table = std::fs::read_to_string(workplace.path("results/measured/main.csv")).unwrap();
    assert_eq!(table.lines().count(), 6, "{table}");
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 0, fresh 8"));
}

#[test]
fn what_cannot_be_measured_is_told_before_anything_runs() {
    let xray = "[dataset.xray.phantom]\nfamily = 'xray'\nsize = 12";
    let headless = "[stage.m1.merge]\nsources = ['a', 'b']\nmethod = 'average'\ndataset = 'cells'\n\
                    [stage.c.finetune]\nfrom = 'a'\ndataset = 'xray'\n\
                    [stage.m2.merge]\nsources = ['a', 'c']\nmethod = 'average'\ndataset = 'cells'\n\
                    [stage.m3.merge]\nsources = ['m1', 'm2']\nmethod = 'fisher'\ndataset = 'cells'";
    for (method, keys, told) in [
        (
            "method = 'fisher'",
            "batch_norm = 'merged'".to_owned(),
            "needs a `dataset` to measure the sources on",
        ),
        ("method = 'greedy_soup'", format!("dataset = 'xray'\n{xray}"), "but data set `xray` has 3 classes"),
        ("method = 'average'", format!("dataset = 'cells'\n{xray}\n{headless}"), "source `m2` has no head"),
    ] {
        let workplace = Workplace::new(&merge(method, &keys));
        workplace.medmerge(&["check", "experiment.toml"]).assert().code(2).stderr(contains(told));
    }
}

#[test]
fn a_label_budget_is_learned_from_and_nothing_else_changes() {
    let text = "[experiment]\nname = 'budget'\n[sweep]\nfraction = [0.1, 0.5, 1]\n\
                [dataset.cells.phantom]\nfamily = 'cells'\nsize = 12\ntrain = 40\nval = 8\ntest = 10\n\
                label_fraction = '${fraction}'\n\
                [stage.a.pretrain]\nbackbone.resnet18 = { stem = 'small', width = 4 }\ndataset = 'cells'\n\
                epochs = 1\nbatch_size = 4\n\
                [stage.scores.evaluate]\nmodels = { A = 'a' }\ndatasets = ['cells']\n\
                [table.main]\nfrom = ['scores']\ncolumns = ['fraction']\nmetrics = ['accuracy']\n";
    let workplace = Workplace::new(text);
    let list = workplace.medmerge(&["data", "list", "experiment.toml"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let sums: Vec<_> = list.lines().filter(|line| line.trim_start().starts_with("all")).collect();
    let sums: Vec<Vec<&str>> =
        sums.into_iter().map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert_eq!(sums, [["5", "8", "10"], ["21", "8", "10"], ["40", "8", "10"]], "{list}");
    assert!(
        list.contains(
            "cells[fraction=0.1] (phantom, 12 x 12 pixels, 4 classes, 10 % of the training labels)"
        )
    );
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 6, fresh 0"));
    let metrics = std::fs::read_to_string(workplace.path("results/budget/metrics.csv")).unwrap();
    let header = "experiment,stage,model,dataset,split,seed,fraction,metric,value,n";
    assert!(metrics.starts_with(header), "{metrics}");
    assert!(metrics.lines().skip(1).all(|line| line.ends_with(",10")), "ten test images: {metrics}");
}
