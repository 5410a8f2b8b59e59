//! Units between two layers at the residual stream, and the map of one network's units that is closest to another's.

use candle_core::{Device, Result, Tensor};
use nalgebra::{DMatrix, SVD};

use crate::singular::{Singular, column, singular};

/// Rows of two matrices that are transformed together, with one column per stream channel: what units read and what
/// they write, or the queries and keys of a head. All in f64.
#[derive(Clone)]
pub(super) struct Units {
    /// `[units, channels]` each.
    pub(super) sides: [Tensor; 2],
    /// Bias of the first side, `[units, 1]`.
    pub(super) bias: Tensor,
}

impl Units {
    /// Another basis of the same units, in which both sides are equally large: A = [first, bias] and B = second become
    /// √S Uᵀ and √S V with Aᵀ B = U S V. The product Aᵀ B stays, and bases of the same product differ by an orthogonal
    /// map only.
    pub(super) fn balanced(&self) -> Result<Self> {
        let [first, second] = &self.sides;
        let (units, channels) = first.dims2()?;
        // Aᵀ B = Vaᵀ (Sa Uaᵀ Ub Sb) Vb, where the core is small
        let (a, b) = (singular(&Tensor::cat(&[first, &self.bias], 1)?)?, singular(second)?);
        let zeros =
            Self { sides: [first.zeros_like()?, second.zeros_like()?], bias: self.bias.zeros_like()? };
        if a.values.is_empty() || b.values.is_empty() {
            return Ok(zeros);
        }
        let [u, v] =
            [&a, &b].map(|side| column(&side.values).and_then(|values| side.u.t()?.broadcast_mul(&values)));
        let Singular { u, values, v } = singular(&u?.matmul(&v?.t()?)?)?;
        if values.is_empty() {
            return Ok(zeros);
        }
        let roots = column(&values.iter().map(|value| value.sqrt()).collect::<Vec<_>>())?;
        let rows = |basis: Tensor, side: &Tensor| {
            basis.broadcast_mul(&roots)?.matmul(side)?.pad_with_zeros(0, 0, units - values.len())
        };
        let (first, second) = (rows(u.t()?, &a.v)?, rows(v, &b.v)?);
        Ok(Self { sides: [first.narrow(1, 0, channels)?, second], bias: first.narrow(1, channels, 1)? })
    }

    /// The same units in another order or basis: L X for each matrix X.
    pub(super) fn mapped(&self, map: &Tensor) -> Result<Self> {
        self.each(|rows| map.matmul(rows), |bias| map.matmul(bias))
    }

    /// The units in this order.
    pub(super) fn ordered(&self, order: &[usize]) -> Result<Self> {
        let order = Tensor::from_iter(order.iter().map(|&unit| unit as u32), &Device::Cpu)?;
        self.each(|rows| rows.index_select(&order, 0), |bias| bias.index_select(&order, 0))
    }

    /// The same units after the map Q of the stream: X Qᵀ for each side X.
    pub(super) fn rotated(&self, stream: &Tensor) -> Result<Self> {
        self.each(|rows| rows.matmul(&stream.t()?), |bias| Ok(bias.clone()))
    }

    fn each(
        &self,
        side: impl Fn(&Tensor) -> Result<Tensor>,
        bias: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let [first, second] = &self.sides;
        Ok(Self { sides: [side(first)?, side(second)?], bias: bias(&self.bias)? })
    }

    /// The inner product of each of these units with each of the others: `[units, units]`.
    pub(super) fn products(&self, other: &Self) -> Result<Tensor> {
        let mut sum = self.bias.matmul(&other.bias.t()?)?;
        for (side, other) in self.sides.iter().zip(&other.sides) {
            sum = (sum + side.matmul(&other.t()?)?)?;
        }
        Ok(sum)
    }
}

/// How far products are moved towards the identity, as a fraction of their size: far more than rounding errors, far less
/// than what they say.
const TO_IDENTITY: f64 = 1e-13;

/// The orthogonal R that maximizes ⟨A, R B⟩ given the products A Bᵀ `[n, n]`, and this maximum: U V and tr S of
/// A Bᵀ = U S V (Schönemann 1966, Psychometrika 31, 1–10). Where the products have no rank, R is nearly the identity.
///
/// # Errors
/// The products are not finite.
pub(super) fn procrustes(products: &Tensor) -> Result<(Tensor, f64)> {
    let n = products.dim(0)?;
    let elements = products.flatten_all()?.to_vec1::<f64>()?;
    if elements.iter().any(|element| !element.is_finite()) {
        candle_core::bail!("the products of two models' weights are not finite");
    }
    let mut products = DMatrix::from_row_slice(n, n, &elements);
    let size = products.norm();
    // nalgebra's singular vectors of the value 0 need not be orthogonal.
    products += DMatrix::identity(n, n) * if size > 0.0 { TO_IDENTITY * size } else { 1.0 };
    let SVD { u, v_t, singular_values } = SVD::new(products, true, true);
    let (Some(u), Some(v)) = (u, v_t) else { candle_core::bail!("singular vectors were not computed") };
    // the transpose, because nalgebra stores columns
    let map = (u * v).transpose().as_slice().to_vec();
    let maximum = if size > 0.0 { singular_values.sum() } else { 0.0 };
    Ok((Tensor::from_vec(map, (n, n), &Device::Cpu)?, maximum))
}
