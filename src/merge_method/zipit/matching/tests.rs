//! The greedy rule, on small cases by hand.

use super::*;

/// A symmetric matrix with these elements above the diagonal, row by row, and 1 on it.
fn symmetric(above: &[f64], n: usize) -> Vec<f64> {
    let mut matrix = vec![1.0; n * n];
    let mut elements = above.iter();
    for i in 0..n {
        for j in i + 1..n {
            let element = *elements.next().unwrap();
            (matrix[i * n + j], matrix[j * n + i]) = (element, element);
        }
    }
    matrix
}

fn zip(above: &[f64], (sources, units): (usize, usize), alpha: f64, beta: f64) -> Groups {
    groups(symmetric(above, sources * units), sources, units, Options { alpha, beta })
}

#[test]
fn the_most_correlated_units_of_two_sources_become_one() {
    let found = zip(&[0.9, 0.2, 0.8, 0.7, 0.1, 0.95], (2, 2), 1.0, 0.0);
    // 0.95 and 0.9 are within a source
    assert_eq!(found, Groups { merged: vec![vec![0, 1], vec![1, 0]], counts: vec![2, 2] });
}

#[test]
fn a_budget_allows_units_of_one_source_to_merge() {
    let found = zip(&[0.9, 0.2, 0.8, 0.7, 0.1, 0.95], (2, 2), 1.0, 1.0);
    assert_eq!(found, Groups { merged: vec![vec![0, 0], vec![1, 1]], counts: vec![2, 2] });
}

/// Units 0, 1 | 2, 3: 0 and 2 merge first (0.9); then 1 and 3 (0.2), or the merged unit and 3 (α · 0.6).
#[test]
fn alpha_decides_whether_a_merged_unit_merges_again() {
    let above = [0.0, 0.9, 0.6, 0.1, 0.2, 0.7];
    let found = |alpha| zip(&above, (2, 2), alpha, 1.0).counts;
    assert_eq!(found(0.3), [2, 2]);
    assert_eq!(found(0.9), [3, 1]);
}

#[test]
fn three_sources_are_zipped_into_one_width() {
    let above: Vec<f64> = (0..15).map(|i| ((i * i + 3 * i) as f64 * 1.7).sin()).collect();
    for (alpha, beta) in [(0.3, 0.0), (1.0, 0.0), (0.5, 1.0)] {
        let found = zip(&above, (3, 2), alpha, beta);
        assert_eq!(found.counts.len(), 2);
        assert_eq!(found.counts.iter().sum::<u32>(), 6);
        assert!(found.merged.iter().flatten().all(|&merged| merged < 2));
    }
}

/// After a with b, b' with c and c' with a', every two share a source.
#[test]
fn units_that_must_not_merge_do_if_too_many_are_left() {
    let mut matrix = vec![0.0; 36];
    for (i, j) in [(0, 2), (3, 4), (5, 1)] {
        (matrix[i * 6 + j], matrix[j * 6 + i]) = (0.9, 0.9);
    }
    let found = groups(matrix, 3, 2, Options { alpha: 0.3, beta: 0.0 });
    assert_eq!(found.counts.iter().sum::<u32>(), 6);
    assert_eq!(found.counts.len(), 2);
}

/// The same rule without remembering anything.
fn slowly(mut values: Vec<f64>, sources: usize, units: usize, options: Options) -> Vec<u32> {
    let n = sources * units;
    let mut parts: Vec<Vec<usize>> = (0..n).map(|unit| vec![unit]).collect();
    let mut budget = vec![((sources - 1) * units / sources) as f64 * options.beta; sources];
    let source = |part: &Vec<usize>| part[0] / units;
    for _ in 0..n - units {
        let mut best = (f64::NEG_INFINITY, 0, 0);
        for i in 0..n {
            for j in i + 1..n {
                let within =
                    !parts[i].is_empty() && !parts[j].is_empty() && source(&parts[i]) == source(&parts[j]);
                let spent = within && budget[source(&parts[i])] < 1.0;
                if !parts[i].is_empty() && !parts[j].is_empty() && !spent && values[i * n + j] > best.0 {
                    best = (values[i * n + j], i, j);
                }
            }
        }
        let (_, i, j) = best;
        if source(&parts[i]) == source(&parts[j]) {
            budget[source(&parts[i])] -= 1.0;
        }
        let gone = std::mem::take(&mut parts[j]);
        parts[i].extend(gone);
        for k in (0..n).filter(|&k| k != i && k != j) {
            let value = values[i * n + k].min(values[j * n + k]) * options.alpha;
            (values[i * n + k], values[k * n + i]) = (value, value);
        }
    }
    let left = parts.into_iter().filter(|part| !part.is_empty());
    let mut merged = vec![0; n];
    left.enumerate().for_each(|(i, part)| part.into_iter().for_each(|unit| merged[unit] = i as u32));
    merged
}

/// With an unlimited budget nothing is ever forbidden.
#[test]
fn remembering_the_best_partners_changes_nothing() {
    for seed in 0..20u64 {
        let n = 12;
        let above: Vec<f64> =
            (0..n * (n - 1) / 2).map(|i| ((i as u64 * 7919 + seed * 104_729) as f64).sin()).collect();
        let matrix = symmetric(&above, n);
        let options = Options { alpha: [0.2, 0.9][seed as usize % 2], beta: 1.0 };
        let mut fast = Greedy::new(matrix.clone(), 2, 6, options);
        fast.budget.fill(usize::MAX);
        (0..6).for_each(|_| fast.merge_best());
        let found: Vec<u32> = fast.into_groups().merged.concat();
        assert_eq!(found, slowly(matrix, 2, 6, Options { beta: 1e9, ..options }), "seed {seed}");
    }
}
