//! MedMerge: declarative experiment pipelines for transferring and merging medical imaging models.
//!
//! This library is the program's own: it promises no stable interface. People use the `medmerge` command; its
//! documentation is the [guide].
//!
//! # Data flows one way
//!
//! ```text
//! experiments/*.toml ─▶ experiment ─▶ plan ─────▶ run ────▶ stage ───▶ store ──▶ table ───▶ results/
//!                       typed spec,   graph,      orders    the        what      figure     CSV,
//!                       every error   finger-     to        science    was       scores     Markdown,
//!                       at once       prints      workers              made       report    SVG, HTML
//! ```
//!
//! `plan` summarizes data and reads no tensor. `run` sends complete orders to workers, processes of this program that
//! make one stage after the other and plan nothing. A stage gets its inputs loaded and returns one
//! [`Artifact`](model::Artifact); it knows no store and no other stage. Only workers write entries of the store, only
//! `table`, `figure` and `report` write results. Each [`error`] has an exit code.
//!
//! Each folder is a crate of the workspace, from the bottom up:
//!
//! | folder | what |
//! |---|---|
//! | [`rng`] | the only source of randomness |
//! | [`identity`] | fingerprints, fields, roles, ancestry, numerics |
//! | [`kind`] | what every kind of anything declares: keys, ranges, paths; schemas; "did you mean"; files and text of users |
//! | [`metric`] | scores as scikit-learn defines them |
//! | [`statistics`] | bootstrap, random effects, paired tests, corrections, ranks |
//! | [`dataset`] | kinds of data sets; decoding, caching, splits, label budgets; what is wrong in a data set |
//! | [`nn`] | layers and operators with right and fast gradients, initial values |
//! | [`backbone`] | ResNet, DenseNet, ViT and DeiT with torchvision's / timm's parameter names |
//! | [`train`] | the loop and its resumption, losses, optimizers, schedules, augmentation |
//! | [`model`] | checkpoints, what is known of them before anything runs, inference, costs |
//! | [`merge_method`] | average, soups, task vectors, Git Re-Basin, ZipIt, Fisher, RegMean, PLeaS, learned, … |
//! | [`merge_files`] | checkpoint files into one, tensor by tensor |
//! | [`stage`] | import, pretrain, finetune, learn_merge_weights, distill, merge, select, evaluate |
//! | [`experiment`] | TOML to typed specs: sections, sweep, `${…}`, `[train]`, every error at once; the JSON Schema |
//! | [`store`] | entries on disk: put, get, verify, clean, move; checkpoints with provenance |
//! | [`plan`] | specs to a graph: [fingerprints](plan::fingerprint), fresh or stale and why, checks, [costs](plan::cost) |
//! | [`table`] | scores to `metrics.csv`, pivots to CSV, Markdown, LaTeX and the terminal; intervals and comparisons |
//! | [`chart`] | drawings of predictions, trainings and comparisons, as SVG |
//! | [`figure`] | figures for papers, each an SVG with a CSV, and as PDF |
//! | [`report`] | an experiment as one HTML page |
//! | [`run`] | the queue of stages, executors, workers, events and reporters |
//! | [`collect`] | from the store to scores and learned merge weights |
//! | [`cli`] | one file per command |
//! | [`guide`] | the documentation, also shown by `medmerge guide` |
//! | [`deploy`] | predictions for new images; models and experiments as folders for other programs |
//! | [`doctor`] | whether a device computes as it should |
//! | [`error`] | exit codes |
//! | [`allocator`] | when unused memory is returned to the system |
//!
//! # Files on disk
//!
//! ```text
//! .medmerge/                           --store, MEDMERGE_STORE
//!   store/<2 hex>/<fingerprint>/       an entry: what one stage made
//!     manifest.json                      where it comes from; digests of all files, its own at the end
//!     model.safetensors                  import, pretrain, finetune, distill, merge, select
//!     merge_weights.safetensors          learn_merge_weights
//!     <model>.<data set>.predictions.csv evaluate, of a model or an ensemble; first 12 digits of both fingerprints
//!     history.csv                        one row per epoch, if it was trained
//!     log.txt                            one line per epoch, and warnings
//!   partial/<fingerprint>/             a stage that is not finished: a training's state, log.txt
//!   staging/                           entries being written; renamed into store/ when whole
//!   damaged/                           entries and images that fail verification; never used
//!   data/<digest>-<size>/pixels        decoded and resized images, memory-mapped
//!   digests/<key>                      what was read from the files of a data set, until they change
//!   experiments/<name>.json            what each stage last was, to say why it is stale
//!   throughput.json                    how fast stages computed, to say how long the next will take
//!   runs/<time>-<experiment>/          plan.json, events.jsonl
//!   locks/, claims/                    held while an entry is made or a run is at work; then removed
//!   slurm/<experiment>/                orders to allocations of a cluster, their messages and logs
//! results/<experiment>/                --results, MEDMERGE_RESULTS
//!   metrics.csv                        one row per score
//!   <table>.csv, <table>.md, .tex      a [table.<table>] of the experiment
//!   <table>.compare.csv                its rows against one of them, if it has `compare`
//!   <figure>.svg, <figure>.csv         a [figure.<figure>.<kind>] of the experiment; .pdf, if it has `pdf`
//!   report.html                        by `medmerge report`
//!   predictions/<row>.<data set>.csv   with --predictions: a row per image, with names of classes
//! ```
//!
//! # To add …
//!
//! A kind is one file: a spec, whose fields with their doc comments are the keys of the experiment file, and one trait
//! with everything about it. A `mod` line and a line in the list register it; name, parsing, help texts, error wording,
//! JSON Schema and the reference of keys follow from there.
//!
//! | a | implements | listed in |
//! |---|---|---|
//! | backbone | [`BackboneKind`](backbone::BackboneKind), and [`Backbone`](backbone::Backbone) by its network | [`BackboneSpec`](backbone::BackboneSpec) |
//! | data set | [`DatasetKind`](dataset::DatasetKind) | [`DatasetSpec`](dataset::DatasetSpec) |
//! | data set of image files | [`ImageFiles`](dataset::image_files::ImageFiles) | the same |
//! | split | [`SplitKind`](dataset::split::SplitKind) | [`SplitSpec`](dataset::split::SplitSpec) |
//! | phantom family | `CLASSES` and `draw` | [`Family`](dataset::phantom::Family) |
//! | merge method | [`MergeMethod`](merge_method::MergeMethod) | [`MergeMethodSpec`](merge_method::MergeMethodSpec) |
//! | stage | [`Stage`](stage::Stage) | [`StageSpec`](stage::StageSpec) |
//! | augmentation | [`Augmentation`](train::augmentation::Augmentation) | [`AugmentationSpec`](train::augmentation::AugmentationSpec) |
//! | schedule | [`Schedule`](train::schedule::Schedule) | [`ScheduleSpec`](train::ScheduleSpec) |
//! | loss | [`LossKind`](train::loss::LossKind) | [`LossSpec`](train::LossSpec) |
//! | optimizer | [`OptimizerKind`](train::optimizer::OptimizerKind) | [`OptimizerSpec`](train::OptimizerSpec) |
//! | metric | a [`Metric`](metric::Metric) | [`METRICS`](metric::METRICS) |
//! | executor | [`Executor`](run::Executor) | [`ExecutorKind`](run::ExecutorKind) |
//! | page of the guide | a Markdown file in `src/guide/` | [`guide::PAGES`] |
//! | command | a file in `src/cli/` with its arguments and `execute` | `Command` in `src/cli/mod.rs` |
//!
//! Whoever changes the numbers that the same spec and inputs give raises the `revision` of the stage or data set, so
//! that earlier results are not taken for current ones.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic if the stream is closed")]

pub use {
    backbone, chart, dataset, experiment, figure, identity, kind, merge_files, merge_method, metric, model,
    nn, plan, report, rng, run, stage, statistics, store, table, train,
};

pub mod allocator;
pub mod cli;
pub mod collect;
pub mod deploy;
pub mod doctor;
pub mod error;
pub mod guide;
