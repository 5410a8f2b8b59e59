//! MedMerge: declarative experiment pipelines for transferring and merging medical imaging models.
//!
//! # How data flows: one way
//!
//! ```text
//! experiments/*.toml ─▶ experiment ─▶ plan ─────▶ run ───▶ stage ───▶ store ──▶ metric ──▶ table ─▶ results/
//!                       typed spec,   graph,      in what  the        what      scores of  CSV,
//!                       every error   finger-     order    science    was       stored     Markdown,
//!                       at once       prints                          made      predic-    terminal
//!                                                                               tions
//! ```
//!
//! `plan` summarizes data and reads no tensor. `run` starts a process of this program for each stage, a worker, which
//! plans the same experiment and makes that one stage. A stage gets its inputs loaded and returns one
//! [`Artifact`](stage::Artifact); it knows no store and no other stage. Only workers write entries of the store,
//! only `table` and `figure` write results. Errors go up as they are; [`error`] gives each an exit code.
//!
//! | folder | what |
//! |---|---|
//! | [`cli`] | one file per command |
//! | [`experiment`] | TOML to typed specs: sections, sweep, `${…}`, `[train]`, every error at once |
//! | [`plan`] | specs to a graph: [fingerprints](plan::fingerprint), fresh or stale and why, checks before anything runs, [costs](plan::cost) |
//! | [`run`] | the queue of stages, workers, events and reporters, scores collected from predictions |
//! | [`stage`] | import, pretrain, finetune, learn_merge_weights, merge, evaluate |
//! | [`train`] | the training loop and how it resumes, losses, optimizers, schedules, augmentation |
//! | [`nn`] | layers and operators with right and fast gradients, initial values |
//! | [`backbone`] | ResNet, DenseNet, ViT and DeiT with torchvision's / timm's parameter names |
//! | [`merge_method`] | functions over named tensors: average, soups, task vectors, Git Re-Basin, Fisher, RegMean, learned, … |
//! | [`merge_files`] | checkpoint files into one, tensor by tensor |
//! | [`dataset`] | phantom, medmnist, manifest, idx, cifar; decoding, caching, label budgets |
//! | [`metric`] | scores as scikit-learn defines them |
//! | [`statistics`] | bootstrap intervals, paired tests, corrections, ranks |
//! | [`store`] | entries on disk: put, get, verify, clean, move; checkpoints with provenance |
//! | [`table`] | scores to `metrics.csv`, pivots to CSV, Markdown, LaTeX and the terminal; intervals and comparisons |
//! | [`figure`] | learned merge weights, layer by layer, to CSV and SVG |
//! | [`rng`] | the only source of randomness |
//! | [`doctor`] | whether a device computes as it should |
//! | [`error`] | exit codes |
//!
//! # Files on disk
//!
//! ```text
//! .medmerge/                           --store, MEDMERGE_STORE
//!   store/<2 hex>/<fingerprint>/       an entry: what one stage made
//!     manifest.json                      where it comes from; digests of all files, its own at the end
//!     model.safetensors                  import, pretrain, finetune, merge
//!     merge_weights.safetensors          learn_merge_weights
//!     <model>.<data set>.predictions.csv evaluate, of a model or an ensemble; first 12 digits of both fingerprints
//!     history.csv                        a row an epoch, if it was trained
//!     log.txt                            a line an epoch, and warnings
//!   partial/<fingerprint>/             a stage that is not finished: a training's state, log.txt
//!   staging/                           entries being written; renamed into store/ when whole
//!   damaged/                           entries and images that were not what had been written; never used
//!   data/<digest>-<size>/pixels        decoded and resized images, memory-mapped
//!   digests/<key>                      what was read from the files of a data set, while nobody touches them
//!   experiments/<name>.json            what each stage last was, to say why it is stale
//!   throughput.json                    how fast stages computed, to say how long the next will take
//!   runs/<time>-<experiment>/          plan.json, events.jsonl
//!   locks/                             held while an entry is made or a run is at work; then removed
//! results/<experiment>/                --results, MEDMERGE_RESULTS
//!   metrics.csv                        a row a score
//!   <table>.csv, <table>.md, .tex      a [table.<table>] of the experiment
//!   <table>.compare.csv                its rows against one of them, if it has `compare`
//!   <figure>.svg, <figure>.csv         a [figure.<figure>] of the experiment; <figure>.kernels.csv if it asks
//! ```
//!
//! # To add …
//!
//! Each extension point is an enum whose variants are the words of the experiment file. Adding one is a file
//! beside its siblings, a `mod` line, a variant and the match arms that the compiler then asks for.
//!
//! | what | file | where it is named |
//! |---|---|---|
//! | a backbone | `src/backbone/<name>.rs`: a spec and [`Backbone`](backbone::Backbone) (parameters, features, cost, kernel groups, symmetries) | [`BackboneSpec`](backbone::BackboneSpec): variant, `build`, `kind`, `Display` |
//! | a merge method | `src/merge_method/<name>.rs`: a spec and [`MergeTensors`](merge_method::MergeTensors) | [`MergeMethodSpec`](merge_method::MergeMethodSpec): variant and arms; its ranges in `src/experiment/ranges/merge_method.rs`; what it needs beside tensors in `src/stage/merge.rs` |
//! | a data set | `src/dataset/<name>.rs`: a spec and [`Source`](dataset::Source) | [`DatasetSpec`](dataset::DatasetSpec): variant, `source`, `kind` |
//! | a phantom family | `src/dataset/phantom/<name>.rs`: `CLASSES` and `draw` | [`Family`](dataset::phantom::Family): variant, `classes`, `draw` |
//! | a metric | `src/metric/<name>.rs`: `fn(&Predictions) -> Option<f64>` | a line in [`METRICS`](metric::METRICS) |
//! | a stage | `src/stage/<name>.rs`: a spec and [`Stage`](stage::Stage) | [`StageSpec`](stage::StageSpec): variant, `KINDS`, `stage`, `kind`; `kind_trains` if it takes the keys of `[train]` |
//! | a command | `src/cli/<name>.rs`: its arguments and `execute` | `Command` in `src/cli/mod.rs` |
//!
//! Whoever changes the numbers that the same spec and inputs give raises the `revision` of the stage or data
//! set, so that results of before are not taken for results of now. Ranges of values are checked in
//! `src/experiment`, names and classes in each stage's [`describe`](stage::Stage::describe).
pub use {
    backbone, dataset, experiment, figure, identity, kind, merge_files, merge_method, metric, model, nn,
    plan, rng, run, stage, statistics, store, table, train,
};

pub mod cli;
pub mod doctor;
pub mod error;
pub mod guide;
