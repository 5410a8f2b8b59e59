//! From a stored value to a level of 0 to 255.

use super::attributes::{Attributes, Function, Photometric};

/// The level of every stored value.
pub(super) struct Levels {
    table: Vec<u8>,
}

impl Levels {
    /// Computes the levels: rescaled by slope and intercept, then the window becomes 0 to 255. Without a window, the
    /// range of the stored bits does.
    ///
    /// # Errors
    /// The window has no width; the file has a table in place of a window.
    pub(super) fn new(attributes: &Attributes<'_>, window: Option<[f64; 2]>) -> Result<Self, String> {
        let ramp = Ramp::new(attributes, window)?;
        let level = |stored: u32| {
            let value = f64::from(value(attributes, stored)) * attributes.slope + attributes.intercept;
            let brightness = match attributes.photometric {
                Photometric::Monochrome1 => 1.0 - ramp.brightness(value),
                _ => ramp.brightness(value),
            };
            (255.0 * brightness).round() as u8
        };
        Ok(Self { table: (0..1_u32 << attributes.allocated).map(level).collect() })
    }

    /// Gray as RGB.
    pub(super) fn rgb(&self, samples: &[u16]) -> Vec<u8> {
        let last = self.table.len() - 1;
        samples.iter().flat_map(|&sample| [self.table[usize::from(sample).min(last)]; 3]).collect()
    }
}

/// The value in the bits of a sample.
fn value(attributes: &Attributes<'_>, sample: u32) -> i32 {
    let bits = u32::from(attributes.stored);
    let value = (sample >> (attributes.high_bit + 1 - attributes.stored)) & ((1 << bits) - 1);
    match attributes.is_signed {
        true => (value << (32 - bits)) as i32 >> (32 - bits),
        false => value as i32,
    }
}

/// How brightness rises from 0 to 1.
struct Ramp {
    center: f64,
    width: f64,
    is_sigmoid: bool,
}

impl Ramp {
    fn new(attributes: &Attributes<'_>, window: Option<[f64; 2]>) -> Result<Self, String> {
        let Some([center, width]) = window.or(attributes.window) else { return Self::whole(attributes) };
        let function = if window.is_some() { Function::Linear } else { attributes.function };
        let least = if function == Function::Linear { 1.0 } else { f64::MIN_POSITIVE };
        if width < least {
            return Err(format!("its window has the width {width}; set `pixels.window`"));
        }
        // Source: PS3.3, C.11.2.1.2.1 and C.11.2.1.3.
        Ok(match function {
            Function::Linear => Self { center: center - 0.5, width: width - 1.0, is_sigmoid: false },
            Function::LinearExact => Self { center, width, is_sigmoid: false },
            Function::Sigmoid => Self { center, width, is_sigmoid: true },
        })
    }

    /// The range of the stored bits.
    fn whole(attributes: &Attributes<'_>) -> Result<Self, String> {
        if attributes.has_table {
            return Err("it has a lookup table in place of a window; set `pixels.window`".to_owned());
        }
        let range = f64::from((1_u32 << attributes.stored) - 1);
        let least = if attributes.is_signed { -((range + 1.0) / 2.0) } else { 0.0 };
        let ends = [least, least + range].map(|value| value * attributes.slope + attributes.intercept);
        Ok(Self { center: (ends[0] + ends[1]) / 2.0, width: (ends[1] - ends[0]).abs(), is_sigmoid: false })
    }

    fn brightness(&self, value: f64) -> f64 {
        let distance = value - self.center;
        if self.is_sigmoid {
            return 1.0 / (1.0 + (-4.0 * distance / self.width).exp());
        }
        if distance <= -self.width / 2.0 {
            return 0.0;
        }
        if distance > self.width / 2.0 { 1.0 } else { distance / self.width + 0.5 }
    }
}
