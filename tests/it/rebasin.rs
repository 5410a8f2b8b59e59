//! Git Re-Basin and REPAIR, GLMC, ZipIt! and PLeaS as an experiment file asks for them.

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;
use crate::pipeline::made_by_one_thread_and_two;

/// Two sources of each of two backbones, and a merge of each.
fn experiment(merge: &str) -> String {
    let mut text = String::from(
        "[experiment]\nname = 'rebasin'\n\
         [dataset.cells.phantom]\nfamily = 'cells'\nsize = 32\ntrain = 20\nval = 8\ntest = 8\n\
         [train]\nepochs = 1\nbatch_size = 10\n",
    );
    let backbones =
        [("r", "resnet18 = { stem = 'small', width = 8 }"), ("v", "vit_tiny = { image_size = 32 }")];
    for (name, backbone) in backbones {
        for seed in [1, 2] {
            text += &format!(
                "[stage.{name}{seed}.pretrain]\nbackbone.{backbone}\ndataset = 'cells'\nseed = {seed}\n"
            );
        }
        text += &format!("[stage.{name}.merge]\nsources = ['{name}1', '{name}2']\n{merge}\n");
    }
    text
}

#[test]
fn one_thread_and_two_align_and_repair_alike() {
    let merge = "method = 'git_rebasin'\nbatch_norm = 'repair'\ndataset = 'cells'";
    let names = made_by_one_thread_and_two(&experiment(merge));
    assert_eq!(names.iter().filter(|name| name.ends_with("model.safetensors")).count(), 6);
}

/// Without a data set, because the network has no batch norm.
#[test]
fn one_thread_and_two_align_transformers_alike() {
    let text = experiment("method = 'average'\ndataset = 'cells'")
        + "[stage.streams.merge]\nsources = ['v1', 'v2']\nmethod.glmc = { weights = [3, 1] }\nbatch_norm = 'merged'\n\
           [stage.scores.evaluate]\nmodels = { streams = 'streams' }\ndatasets = ['cells']\n";
    let names = made_by_one_thread_and_two(&text);
    assert_eq!(names.iter().filter(|name| name.ends_with("model.safetensors")).count(), 7);
}

/// Matching by activations is refused for transformers, so only the ResNets are merged by it.
#[test]
fn one_thread_and_two_match_activations_alike() {
    let text = experiment("method = 'pleas'\ndataset = 'cells'")
        + "[stage.zipped.merge]\nsources = ['r1', 'r2']\nmethod = 'zipit'\ndataset = 'cells'\n\
           [stage.fitted.merge]\nsources = ['r1', 'r2']\nmethod.pleas.matching = 'activations'\ndataset = 'cells'\n";
    let names = made_by_one_thread_and_two(&text);
    assert_eq!(names.iter().filter(|name| name.ends_with("model.safetensors")).count(), 8);
}

#[test]
fn options_that_do_not_go_together_are_refused_before_anything_runs() {
    for (merge, words) in [
        ("method = 'git_rebasin'\nbatch_norm = 'repair'", "`batch_norm = \"repair\"` needs a `dataset`"),
        (
            "method = 'git_rebasin'\nbatch_norm = 'merged'\ndataset = 'cells'",
            "`dataset` is unused with `batch_norm = \"merged\"`; remove it",
        ),
        (
            "method.git_rebasin = { weights = [2, -1] }\nbatch_norm = 'repair'\ndataset = 'cells'",
            "needs non-negative weights, because a standard deviation cannot be negative",
        ),
        ("method.git_rebasin = { weights = [2] }\ndataset = 'cells'", "1 weights for 2 sources"),
        ("method.git_rebasin = { weights = [1, -1] }\ndataset = 'cells'", "must have a positive sum, not 0"),
        ("method.git_rebasin = { sed = 1 }\ndataset = 'cells'", "seed"),
        (
            "method = 'glmc'\ndataset = 'cells'",
            "`glmc` merges vision transformers (`vit_tiny`, `vit_small`, `vit_base`, `deit_small` and `deit_base`), \
             not resnet18; use `git_rebasin`",
        ),
        ("method.glmc = { weights = [2] }\ndataset = 'cells'", "1 weights for 2 sources"),
        ("method = 'zipit'\nbatch_norm = 'merged'", "`method` needs a `dataset` to measure the sources on"),
        ("method.zipit.alpha = 0\ndataset = 'cells'", "alpha"),
        ("method.zipit.beta = 1.5\ndataset = 'cells'", "beta"),
        ("method.zipit.images = 0\ndataset = 'cells'", "images"),
        ("method.pleas.ridge = 0\ndataset = 'cells'", "ridge"),
        ("method.pleas.matching = 'activation'\ndataset = 'cells'", "activations"),
        ("method = 'pleas'\ndataset = 'cells'\nbatch_norm = 'repair'", "this method has none"),
        (
            "method = 'zipit'\ndataset = 'cells'",
            "`zipit` is not defined for vit_tiny: the channels of attention heads",
        ),
        (
            "method.pleas.matching = 'activations'\ndataset = 'cells'",
            "use `git_rebasin` or `matching = \"weights\"`",
        ),
    ] {
        let workplace = Workplace::new(&experiment(merge));
        let check = workplace.medmerge(&["check", "experiment.toml"]).assert().code(2);
        check.stderr(contains(words).and(contains("experiment.toml:")));
    }
}

#[test]
fn a_merge_without_shares_cannot_be_repaired() {
    let text = crate::builder::EXPERIMENT.replace(
        "method.learned = { weights = \"weights\" }",
        "method.learned = { weights = \"weights\" }\nbatch_norm = \"repair\"",
    );
    let check = Workplace::new(&text).medmerge(&["check", "experiment.toml"]).assert().code(2);
    check.stderr(contains("use it with `average` or `git_rebasin`"));
}
