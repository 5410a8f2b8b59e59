//! Learning rates of the layers of a backbone: `lr_backbone` and `layer_decay`.

use std::collections::HashMap;

use super::TrainSpec;

/// Factor on the learning rate of each variable of a backbone, by name; all other variables have 1. `depths` are the
/// names by depth, from input to output.
///
/// With layer decay γ, depth d of D has γ^(D − d), as timm's `param_groups_layer_decay` (Bao et al. 2022, BEiT, arXiv
/// 2106.08254).
pub fn factors(spec: &TrainSpec, depths: &[Vec<String>]) -> HashMap<String, f64> {
    let above = |depth: usize| (depths.len() - depth) as i32;
    let factor = |depth| match spec.lr_backbone {
        Some(lr) => lr / spec.optimizer.lr(),
        None => spec.layer_decay.powi(above(depth)),
    };
    let named = depths.iter().enumerate().flat_map(|(depth, names)| names.iter().map(move |n| (n, depth)));
    named.map(|(name, depth)| (name.clone(), factor(depth))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors_of(spec: TrainSpec) -> [f64; 3] {
        let depths = [vec!["stem".to_owned(), "norm".to_owned()], vec!["block".to_owned()]];
        let factors = factors(&spec, &depths);
        assert_eq!(factors.len(), 3);
        ["stem", "norm", "block"].map(|name| factors[name])
    }

    #[test]
    fn rates_decay_from_the_head_to_the_input() {
        assert_eq!(factors_of(TrainSpec::default()), [1.0; 3]);
        let decaying = TrainSpec { layer_decay: 0.5, ..TrainSpec::default() };
        assert_eq!(factors_of(decaying), [0.25, 0.25, 0.5]);
        let [stem, norm, block] = factors_of(TrainSpec { lr_backbone: Some(1e-4), ..TrainSpec::default() });
        assert!((stem - 0.1).abs() < 1e-15 && stem == norm && norm == block);
    }
}
