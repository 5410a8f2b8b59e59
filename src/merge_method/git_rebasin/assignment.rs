//! The linear assignment problem: pair each row with a column so that the sum of the pairs' scores is maximal.

/// For each row of `scores [n, n]`, the column paired with it.
///
/// Shortest augmenting paths are added one by one (Jonker and Volgenant 1987, Computing 38, 325–340; steps and names as
/// in Crouse 2016, IEEE Trans. Aerosp. Electron. Syst. 52, 1679–1696): O(n³), and exact up to rounding.
///
/// # Panics
/// A score is not finite, or there are not n² of them.
pub fn assign(scores: &[f64], n: usize) -> Vec<usize> {
    solve(scores, n).column_of
}

const NONE: usize = usize::MAX;

/// An assignment with dual variables that prove it optimal: with costs c = −score, `u[i] + v[j] ≤ c[i, j]` everywhere,
/// with equality for each pair.
struct Solution {
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    u: Vec<f64>,
    v: Vec<f64>,
}

fn solve(scores: &[f64], n: usize) -> Solution {
    assert_eq!(scores.len(), n * n, "scores must be square");
    assert!(scores.iter().all(|score| score.is_finite()), "scores must be finite");
    let mut solution = Solution::start(scores, n);
    let mut search = Search::new(n);
    for row in 0..n {
        if solution.column_of[row] == NONE {
            let column = search.shortest_path(scores, &solution, row);
            search.adjust(&mut solution, row);
            search.augment(&mut solution, row, column);
        }
    }
    solution
}

impl Solution {
    /// `v` is each column's least cost; pairs are formed where no two columns choose the same row. A good start when
    /// the two networks are already similar.
    fn start(scores: &[f64], n: usize) -> Self {
        let mut best = vec![(f64::NEG_INFINITY, NONE); n];
        for (i, row) in scores.chunks_exact(n.max(1)).enumerate() {
            for (best, score) in best.iter_mut().zip(row) {
                if *score > best.0 {
                    *best = (*score, i);
                }
            }
        }
        let v = best.iter().map(|(score, _)| -score).collect();
        let mut start = Self { column_of: vec![NONE; n], row_of: vec![NONE; n], u: vec![0.0; n], v };
        for (column, (_, row)) in best.into_iter().enumerate() {
            if start.column_of[row] == NONE {
                (start.column_of[row], start.row_of[column]) = (column, row);
            }
        }
        start
    }
}

/// A search for the shortest augmenting path from a row to a free column.
struct Search {
    /// The least cost of a path to each column, and the preceding row.
    cost: Vec<f64>,
    from: Vec<usize>,
    /// Columns with a final path, in order of their cost, followed by the others.
    columns: Vec<usize>,
    reached: usize,
    /// Cost of the path found.
    least: f64,
}

impl Search {
    fn new(n: usize) -> Self {
        Self { cost: vec![0.0; n], from: vec![NONE; n], columns: (0..n).collect(), reached: 0, least: 0.0 }
    }

    /// The free column that is closest to `row`: Dijkstra's algorithm on the reduced costs c − u − v, which are not
    /// negative.
    fn shortest_path(&mut self, scores: &[f64], solution: &Solution, row: usize) -> usize {
        let n = self.cost.len();
        self.cost.fill(f64::INFINITY);
        (self.reached, self.least) = (0, 0.0);
        let mut i = row;
        loop {
            let offset = self.least - solution.u[i];
            let scores = &scores[i * n..][..n];
            let (mut next, mut lowest) = (self.reached, f64::INFINITY);
            for (position, &j) in self.columns.iter().enumerate().skip(self.reached) {
                let cost = offset - scores[j] - solution.v[j];
                if cost < self.cost[j] {
                    (self.cost[j], self.from[j]) = (cost, i);
                }
                let cost = self.cost[j];
                if cost < lowest || cost == lowest && solution.row_of[j] == NONE {
                    (next, lowest) = (position, cost);
                }
            }
            self.least = lowest;
            let column = self.columns[next];
            self.columns.swap(self.reached, next);
            self.reached += 1;
            match solution.row_of[column] {
                NONE => return column,
                paired => i = paired,
            }
        }
    }

    /// Update `u` and `v` so that they remain feasible, with equality along the path found.
    fn adjust(&self, solution: &mut Solution, row: usize) {
        solution.u[row] += self.least;
        for &j in &self.columns[..self.reached] {
            let slack = self.least - self.cost[j];
            solution.v[j] -= slack;
            if solution.row_of[j] != NONE {
                solution.u[solution.row_of[j]] += slack;
            }
        }
    }

    /// Exchange the pairs along the path.
    fn augment(&self, solution: &mut Solution, row: usize, column: usize) {
        let mut j = column;
        loop {
            let i = self.from[j];
            solution.row_of[j] = i;
            std::mem::swap(&mut solution.column_of[i], &mut j);
            if i == row {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::Rng;

    use super::*;
    use rng::{Purpose, rng};

    fn total(scores: &[f64], n: usize, columns: &[usize]) -> f64 {
        columns.iter().enumerate().map(|(i, &j)| scores[i * n + j]).sum()
    }

    /// The maximum over all n! assignments.
    fn most(scores: &[f64], n: usize, used: &mut Vec<usize>) -> f64 {
        if used.len() == n {
            return total(scores, n, used);
        }
        let mut most = f64::NEG_INFINITY;
        for j in 0..n {
            if !used.contains(&j) {
                used.push(j);
                most = most.max(self::most(scores, n, used));
                used.pop();
            }
        }
        most
    }

    fn assert_permutation(columns: &[usize]) {
        let mut sorted = columns.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..columns.len()).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn no_assignment_scores_more(
            n in 0..7_usize,
            elements in prop::collection::vec(prop_oneof![-5.0..5.0, (-2..3_i8).prop_map(f64::from)], 36),
        ) {
            let scores = &elements[..n * n];
            let columns = assign(scores, n);
            assert_permutation(&columns);
            prop_assert!((total(scores, n, &columns) - most(scores, n, &mut Vec::new())).abs() < 1e-9);
        }
    }

    /// By linear programming duality, the sum of `u` and `v` is a lower bound on the cost.
    #[test]
    fn a_large_assignment_is_proved_the_best() {
        let n = 150;
        let mut rng = rng(1, Purpose::Init, 0, 0);
        let scores: Vec<f64> = (0..n * n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let Solution { column_of, row_of, u, v } = solve(&scores, n);
        assert_permutation(&column_of);
        assert!((0..n).all(|i| row_of[column_of[i]] == i));
        let reduced = |i: usize, j: usize| -scores[i * n + j] - u[i] - v[j];
        assert!((0..n * n).all(|k| reduced(k / n, k % n) > -1e-9));
        assert!((0..n).all(|i| reduced(i, column_of[i]).abs() < 1e-9));
    }
}
