//! The integration tests: one binary, one module a subject.

#![expect(unreachable_pub, reason = "modules of a test binary share helpers")]

mod adamerging;
mod backbone;
mod builder;
mod cache_size;
mod class_order;
mod cli;
mod cost;
mod data_commands;
mod dataset;
mod device;
mod distill;
mod ensemble;
mod experiment;
mod figure;
mod findings_checkpoints;
mod findings_data;
mod findings_language;
mod findings_run;
mod findings_tables;
mod findings_trial;
mod fingerprint;
mod groups;
mod guide;
mod image_file;
mod init;
#[cfg(unix)]
mod kill;
mod loss;
mod measured;
mod merge_command;
mod merge_method;
mod metric;
mod multi_label;
mod new;
mod not_tested;
mod official;
mod ops;
mod optimizer;
mod paper;
mod pipeline;
mod pixels;
mod plan;
mod predict;
mod program;
mod rebasin;
mod records;
mod reference;
mod report;
mod results;
mod resume;
mod rsna;
mod run;
mod shipped;
mod show;
#[cfg(unix)]
mod slurm;
mod statistics;
mod store;
mod sweep;
mod table;
mod training_options;
mod unlabeled;
mod worker;
