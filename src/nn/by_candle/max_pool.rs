//! Max pool with its gradient, which goes to the first of equal values in a window, as on CPU.

use candle_core::{Device, Result, Tensor};

use crate::Value;
use crate::cpu::pool::PoolShape;

/// See [`max_pool2d`](crate::pool::max_pool2d); the shapes are already checked.
pub(crate) fn max_pool2d(x: &Value, shape: &PoolShape) -> Result<Value> {
    let PoolShape { n, h, w, c, .. } = *shape;
    let taps = taps(shape, x.tensor().device())?;
    let pixels = x.tensor().reshape((n, h * w, c))?;
    let at = move |pixels: &Tensor, tap: &Tensor| pixels.index_select(tap, 1);
    let mut largest = at(&pixels, &taps[0])?;
    for tap in &taps[1..] {
        // NaN counts as larger than any number.
        let here = at(&pixels, tap)?;
        let larger = (here.gt(&largest)? + here.ne(&here)?)?;
        largest = larger.where_cond(&here, &largest)?;
    }
    let (oh, ow) = (shape.oh(), shape.ow());
    let y = largest.reshape((n, oh, ow, c))?;
    Ok(Value::result(y, &[x], move |gy| {
        let mut left = gy.reshape((n, oh * ow, c))?;
        let mut gx = pixels.zeros_like()?;
        for tap in &taps {
            let here = (&left * at(&pixels, tap)?.eq(&largest)?.to_dtype(gy.dtype())?)?;
            left = (left - &here)?;
            gx = gx.index_add(tap, &here, 1)?;
        }
        Ok(vec![Some(gx.reshape((n, h, w, c))?)])
    }))
}

/// For each tap of the window, the index of the pixel under it in each window. A tap outside the image is moved to the
/// nearest pixel of the window inside it, which changes no maximum; that pixel occurs in its own turn or before.
fn taps(shape: &PoolShape, device: &Device) -> Result<Vec<Tensor>> {
    let inside =
        |o: usize, k: usize, side: usize| (o * shape.stride + k).saturating_sub(shape.padding).min(side - 1);
    let mut taps = Vec::new();
    for (ky, kx) in (0..shape.kernel).flat_map(|ky| (0..shape.kernel).map(move |kx| (ky, kx))) {
        let windows = (0..shape.oh()).flat_map(|oy| (0..shape.ow()).map(move |ox| (oy, ox)));
        let pixels: Vec<u32> = windows
            .map(|(oy, ox)| (inside(oy, ky, shape.h) * shape.w + inside(ox, kx, shape.w)) as u32)
            .collect();
        taps.push(Tensor::new(pixels, device)?);
    }
    Ok(taps)
}
