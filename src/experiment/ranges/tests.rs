use super::super::testing::parsed;

/// What is wrong with these keys of a stage that trains.
fn train(keys: &str) -> Vec<String> {
    let stage =
        "[dataset.d.phantom]\nfamily = 'cells'\n[stage.s.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'";
    parsed(&format!("{stage}\n{keys}")).err().unwrap_or_default()
}

#[test]
fn each_value_of_training_has_its_range() {
    for (keys, message) in [
        ("epochs = 0", "`epochs` must be 1 or more, not 0"),
        ("batch_size = 1", "`batch_size` must be 2 or more, not 1"),
        ("optimizer.adamw.lr = 0", "`lr` must be a finite number above 0, not 0"),
        ("optimizer.adam.lr = inf", "`lr` must be a finite number above 0, not inf"),
        ("optimizer.adam.betas = [0.9, 1.0]", "`betas` must be from 0 to below 1, not 1"),
        ("optimizer.adam.eps = 0.0", "`eps` must be a finite number above 0, not 0"),
        ("optimizer.sgd.weight_decay = nan", "`weight_decay` must be a finite number from 0, not NaN"),
        ("optimizer.sgd.momentum = 1.5", "`momentum` must be from 0 to below 1, not 1.5"),
        ("optimizer.sgd = { momentum = 0.0, nesterov = true }", "`nesterov` needs a `momentum` above 0"),
        ("loss.cross_entropy.label_smoothing = 1.0", "`label_smoothing` must be from 0 to below 1, not 1"),
        ("clip_norm = 0.0", "`clip_norm` must be a finite number above 0, not 0"),
        ("patience = 0", "`patience` must be 1 or more, not 0"),
        ("min_delta = -0.1", "`min_delta` must be a finite number from 0, not -0.1"),
        ("schedule.multi_step.milestones = [3, 3]", "`milestones` must increase"),
        (
            "schedule.multi_step = { milestones = [], gamma = 0.0 }",
            "`gamma` must be a finite number above 0, not 0",
        ),
        ("schedule.cosine.min_factor = 2.0", "`min_factor` must be from 0 to 1, not 2"),
        ("schedule.one_cycle.rise = 1.0", "`rise` must be between 0 and 1, not 1"),
        ("epochs = 3\nschedule.cosine.warmup_epochs = 3", "`warmup_epochs` (3) must be below `epochs` (3)"),
        ("patience = 2\nselect = 'none'", "`patience` needs a validation score, but `select` is \"none\""),
        ("normalize = { mean = [0, 0, 0], std = [1, 0, 1] }", "`std` must be a finite number above 0, not 0"),
    ] {
        assert_eq!(train(keys), [message], "{keys}");
    }
}

#[test]
fn right_values_pass() {
    let right = "epochs = 1\nbatch_size = 2\noptimizer.sgd = { lr = 1e-9, momentum = 0.9, nesterov = true }\n\
                 schedule.multi_step.milestones = [1, 2]\nnormalize = 'imagenet'\nclip_norm = 1\npatience = 1";
    assert_eq!(train(right), [""; 0]);
}

#[test]
fn data_sets_merges_and_evaluations_are_looked_at_too() {
    let errors = parsed(
        "[dataset.d.phantom]\nfamily = 'cells'\nsize = 7\ntrain = 0\nval = 0\ntest = 0\n\
         [stage.p.pretrain]\nbackbone.resnet18.width = 0\ndataset = 'd'\n\
         [stage.m.merge]\nsources = ['p', 'p']\nmethod.average.weights = [1.0]\n\
         [stage.n.merge]\nsources = ['p']\nmethod.average.weights = [0.0]\n\
         [stage.o.merge]\nsources = ['p', 'm']\nmethod.greedy_soup.metric = 'acuracy'\n\
         [stage.q.merge]\nsources = ['p', 'm']\nmethod.fisher = { images = 0, floor = 0, weights = [1, -1] }\n\
         [stage.r.merge]\nsources = ['p', 'm']\nmethod.regmean = { images = 0, alpha = 1.5 }\n\
         [stage.w.learn_merge_weights]\nsources = ['p', 'm']\nanchor = 'mm'\ndataset = 'd'\n\
         [stage.e.evaluate]\nmodels = {}\ndatasets = []\n\
         [stage.f.evaluate]\nmodels.x = 'p'\ndatasets = ['d', 'd']\n\
         ensembles = { x = { models = ['p', 'm'] }, y = { models = ['p'] }, z = { models = ['p', 'p'] } }",
    );
    assert_eq!(
        errors.unwrap_err(),
        [
            "`size` must be 8 or more, not 7",
            "`train` must be 1 or more, not 0",
            "`val` must be 1 or more, not 0",
            "`test` must be 1 or more, not 0",
            "`width` must be 1 to 4096, not 0",
            "source `p` stands here twice",
            "1 weights for 2 sources; give one for each",
            "`average` needs 2 sources or more, not 1",
            "the weights must have a positive sum, not 0",
            "unknown metric `acuracy`",
            "`images` must be 1 or more, not 0",
            "`floor` must be a finite number above 0, not 0",
            "the weights must have a positive sum, not 0",
            "`weights` must be a finite number from 0, not -1",
            "`images` must be 1 or more, not 0",
            "`alpha` must be from 0 to 1, not 1.5",
            "the anchor `mm` is not among the sources",
            "`models` names no model",
            "`datasets` names no data set",
            "data set `d` stands here twice",
            "a model and an ensemble have the row label \"x\"",
            "an ensemble needs 2 models or more, not 1",
            "model `p` stands here twice",
        ]
    );
}

#[test]
fn a_decay_is_from_0_and_does_not_overshoot() {
    let wrong = |keys: &str| {
        let stages = "[dataset.d.phantom]\nfamily = 'cells'\n[stage.p.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\n\
                      [stage.q.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nseed = 1\n\
                      [stage.w.learn_merge_weights]\nsources = ['p', 'q']\ndataset = 'd'\noptimizer.adamw.lr = 0.125\n";
        parsed(&format!("{stages}{keys}")).err().unwrap_or_default()
    };
    assert_eq!(wrong("decay_to_start = 7.9"), [""; 0]);
    let finite = |value: &str| format!("`decay_to_start` must be a finite number from 0, not {value}");
    for value in ["-1", "inf", "NaN"] {
        assert_eq!(wrong(&format!("decay_to_start = {}", value.to_lowercase())), [finite(value)]);
    }
    let overshooting = "`decay_to_start` must be below 1 / lr, here 8, not 8";
    assert_eq!(wrong("decay_to_start = 8"), [overshooting]);
}
