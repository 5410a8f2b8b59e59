//! The guide: Markdown pages, shown here and by `medmerge guide TOPIC`.

/// A page of the guide.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// What `medmerge guide` calls it.
    pub topic: &'static str,
    /// Markdown.
    pub text: &'static str,
}

/// Declares the pages: a topic, and the module that rustdoc shows it in.
macro_rules! pages {
    ($($module:ident: $topic:literal),+ $(,)?) => {
        $(
            #[doc = include_str!(concat!($topic, ".md"))]
            pub mod $module {}
        )+

        /// Every page, the index first.
        pub const PAGES: &[Page] =
            &[$(Page { topic: $topic, text: include_str!(concat!($topic, ".md")) }),+];
    };
}

pages! {
    index: "index",
    installation: "installation",
    experiment_file: "experiment-file",
    data_sets: "data-sets",
    own_data_and_checkpoints: "own-data-and-checkpoints",
    other_programs: "other-programs",
    stages: "stages",
    merge_methods: "merge-methods",
    metrics_and_tables: "metrics-and-tables",
    running: "running",
    slurm: "slurm",
    store_and_files: "store-and-files",
    performance: "performance",
    paper: "paper",
    reproducibility: "reproducibility",
    changelog: "changelog",
    keys: "reference/keys",
}

/// The page of a topic: by its name, or by the last part of it (`keys`).
pub fn page(topic: &str) -> Option<&'static Page> {
    let topic = topic.trim_end_matches(".md");
    let matches = |page: &&Page| page.topic == topic || page.topic.rsplit('/').next() == Some(topic);
    PAGES.iter().find(matches)
}
