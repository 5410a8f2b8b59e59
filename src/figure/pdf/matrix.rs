//! Where things are: `transform` as six numbers.

/// A map of the plane: `x ↦ a x + c y + e`, `y ↦ b x + d y + f`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix(pub(super) [f32; 6]);

impl Matrix {
    pub(super) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// The value of an attribute: `translate(x y)` and `rotate(degrees)`, the last one being applied first.
    pub(super) fn parse(text: &str) -> Self {
        text.split_inclusive(')').filter_map(one).fold(Self::IDENTITY, Self::of)
    }

    /// First `inner`, then this one.
    pub(super) fn of(self, inner: Self) -> Self {
        let [a, b, c, d, ..] = self.0;
        let [x, y] = [[0, 1], [2, 3]].map(|[i, j]| {
            let (p, q) = (inner.0[i], inner.0[j]);
            [a * p + c * q, b * p + d * q]
        });
        let [e, f] = self.at([inner.0[4], inner.0[5]]);
        Self([x[0], x[1], y[0], y[1], e, f])
    }

    /// Where a point goes.
    pub(super) fn at(self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, c, d, e, f] = self.0;
        [a * x + c * y + e, b * x + d * y + f]
    }
}

fn one(text: &str) -> Option<Matrix> {
    let (name, numbers) = text.trim().trim_end_matches(')').split_once('(')?;
    let mut numbers = numbers.split([' ', ',']).filter_map(|number| number.parse::<f32>().ok());
    let first = numbers.next()?;
    match name {
        "translate" => Some(Matrix([1.0, 0.0, 0.0, 1.0, first, numbers.next().unwrap_or(0.0)])),
        "rotate" => {
            let (sin, cos) = first.to_radians().sin_cos();
            Some(Matrix([cos, sin, -sin, cos, 0.0, 0.0]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_last_is_applied_first() {
        let moved = Matrix::parse("translate(10 20) rotate(-90)").at([3.0, 0.0]);
        assert!((moved[0] - 10.0).abs() < 1e-5 && (moved[1] - 17.0).abs() < 1e-5, "{moved:?}");
        assert_eq!(Matrix::parse(""), Matrix::IDENTITY);
    }
}
