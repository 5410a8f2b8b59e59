//! The greedy rule (arXiv 2305.03053, section 4.3): the two most correlated units become one, until as many are left as
//! one source has.

/// Groups of the units of several sources, each of which becomes one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// For each source, the merged unit that each of its units becomes a part of.
    pub merged: Vec<Vec<u32>>,
    /// Number of units in each merged unit.
    pub counts: Vec<u32>,
}

/// Options of the greedy rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Factor α of the correlations of a merged unit, in (0, 1], once for each merge.
    pub alpha: f64,
    /// Fraction β of the merges that may be within one source, in [0, 1].
    pub beta: f64,
}

/// Merge the most correlated units until `units` are left, given the correlation of each pair of units of `sources`
/// sources, source by source: `[sources · units]²`, row-major, symmetric, finite.
///
/// A merged unit is as correlated with another as the less correlated of its two parts, times α. It belongs to the first
/// of their sources. Of the `(sources − 1) · units` merges each source has an equal share, and may use ⌊β · share⌋ of it
/// for merges of two units of its own; then it merges with others only. Of equally correlated pairs the first is merged.
/// Merged units are in the order of their first parts.
///
/// # Panics
/// There is not a correlation for each pair.
pub fn groups(correlations: Vec<f64>, sources: usize, units: usize, options: Options) -> Groups {
    let mut greedy = Greedy::new(correlations, sources, units, options);
    for _ in 0..(sources - 1) * units {
        greedy.merge_best();
    }
    greedy.into_groups()
}

struct Greedy {
    sources: usize,
    /// Number of units of all sources.
    len: usize,
    alpha: f64,
    /// Correlations of units not merged away; −∞ if the two must not merge.
    correlations: Vec<f64>,
    /// Whether two units must not merge.
    forbidden: Vec<bool>,
    /// The unit that each unit was merged into: itself if it is left.
    into: Vec<usize>,
    /// The source that each unit belongs to.
    source: Vec<usize>,
    /// Merges within each source that are left.
    budget: Vec<usize>,
    /// For each unit that is left, the later unit that it is most correlated with.
    best: Vec<Option<usize>>,
}

impl Greedy {
    fn new(correlations: Vec<f64>, sources: usize, units: usize, options: Options) -> Self {
        let len = sources * units;
        assert_eq!(correlations.len(), len * len, "correlations must be of all pairs");
        let share = (sources - 1) * units / sources;
        let budget = (share as f64 * options.beta + 1e-4) as usize;
        let mut greedy = Self {
            sources,
            len,
            alpha: options.alpha,
            correlations,
            forbidden: vec![false; len * len],
            into: (0..len).collect(),
            source: (0..len).map(|unit| unit / units.max(1)).collect(),
            budget: vec![budget; sources],
            best: vec![None; len],
        };
        if budget == 0 {
            (0..sources).for_each(|source| greedy.forbid_within(source));
        }
        (0..len).for_each(|unit| greedy.find_best(unit));
        greedy
    }

    fn is_left(&self, unit: usize) -> bool {
        self.into[unit] == unit
    }

    /// Units after `unit` that are left.
    fn later(&self, unit: usize) -> impl Iterator<Item = usize> + '_ {
        (unit + 1..self.len).filter(|&other| self.is_left(other))
    }

    /// The correlation of two units; −∞ if they must not merge.
    fn value(&self, i: usize, j: usize) -> f64 {
        if self.forbidden[i * self.len + j] { f64::NEG_INFINITY } else { self.correlations[i * self.len + j] }
    }

    fn find_best(&mut self, unit: usize) {
        let mut best: Option<(usize, f64)> = None;
        for other in self.later(unit) {
            let value = self.value(unit, other);
            if value > best.map_or(f64::NEG_INFINITY, |(_, most)| most) {
                best = Some((other, value));
            }
        }
        self.best[unit] = best.map(|(other, _)| other);
    }

    /// The first of the most correlated pairs that may merge.
    fn best_pair(&self) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        for unit in (0..self.len).filter(|&unit| self.is_left(unit)) {
            if let Some(other) = self.best[unit]
                && best.is_none_or(|(i, j)| self.value(unit, other) > self.value(i, j))
            {
                best = Some((unit, other));
            }
        }
        best
    }

    /// Merge the best pair. Of three sources or more, units may be left that must not merge although there are too many
    /// (one of the sources A and B, one of B and C, one of C and A); then all may.
    fn merge_best(&mut self) {
        let pair = self.best_pair().or_else(|| {
            self.forbidden.fill(false);
            self.budget.fill(usize::MAX);
            (0..self.len).for_each(|unit| self.find_best(unit));
            self.best_pair()
        });
        if let Some((kept, gone)) = pair {
            self.merge(kept, gone);
        }
    }

    /// Merge a unit into an earlier one.
    fn merge(&mut self, kept: usize, gone: usize) {
        self.into.iter_mut().filter(|into| **into == gone).for_each(|into| *into = kept);
        for other in (0..self.len).filter(|&other| other != kept && self.is_left(other)).collect::<Vec<_>>() {
            let [a, b] = [kept, gone].map(|unit| unit * self.len + other);
            let correlation = self.correlations[a].min(self.correlations[b]) * self.alpha;
            let forbidden = self.forbidden[a] || self.forbidden[b];
            for place in [a, other * self.len + kept] {
                (self.correlations[place], self.forbidden[place]) = (correlation, forbidden);
            }
        }
        let source = self.source[kept];
        let mut exhausted = None;
        if source == self.source[gone] {
            self.budget[source] -= 1;
            exhausted = (self.budget[source] == 0).then_some(source);
        }
        if let Some(source) = exhausted {
            self.forbid_within(source);
        }
        self.update_best(kept, gone, exhausted);
    }

    /// No two units of a source may merge any more.
    fn forbid_within(&mut self, source: usize) {
        let own: Vec<usize> = (0..self.len).filter(|&unit| self.source[unit] == source).collect();
        for &i in &own {
            own.iter().for_each(|&j| self.forbidden[i * self.len + j] = true);
        }
    }

    /// Update the best partners after a merge, and after a source used up its budget.
    fn update_best(&mut self, kept: usize, gone: usize, exhausted: Option<usize>) {
        for unit in 0..gone {
            if !self.is_left(unit) {
                continue;
            }
            let stale = self.best[unit].is_some_and(|best| best == kept || best == gone);
            let forbidden = exhausted == Some(self.source[unit]);
            if unit == kept || stale || forbidden {
                self.find_best(unit);
            } else if unit < kept {
                self.compare_best(unit, kept);
            }
        }
        let after: Vec<usize> =
            self.later(gone).filter(|&unit| exhausted == Some(self.source[unit])).collect();
        after.into_iter().for_each(|unit| self.find_best(unit));
    }

    /// Make `other` the best partner of an earlier unit if it is.
    fn compare_best(&mut self, unit: usize, other: usize) {
        let value = self.value(unit, other);
        let better = match self.best[unit] {
            None => value > f64::NEG_INFINITY,
            Some(best) => {
                let most = self.value(unit, best);
                value > most || (value == most && other < best)
            }
        };
        if better {
            self.best[unit] = Some(other);
        }
    }

    fn into_groups(self) -> Groups {
        let left: Vec<usize> = (0..self.len).filter(|&unit| self.is_left(unit)).collect();
        let mut position = vec![0; self.len];
        left.iter().enumerate().for_each(|(i, &unit)| position[unit] = i);
        let mut counts = vec![0; left.len()];
        let all: Vec<u32> = self.into.iter().map(|&unit| position[unit] as u32).collect();
        all.iter().for_each(|&merged| counts[merged as usize] += 1);
        let units = self.len / self.sources;
        let merged = (0..self.sources).map(|source| all[source * units..][..units].to_vec()).collect();
        Groups { merged, counts }
    }
}

#[cfg(test)]
mod tests;
