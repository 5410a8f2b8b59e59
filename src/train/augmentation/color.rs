//! Changes of colors, pixel by pixel or by the levels of the whole image. Formulas are torchvision's for 8-bit images,
//! which truncate.

/// Largest level.
const BOUND: f32 = 255.0;

/// Luma of ITU-R 601-2: 0.2989 R + 0.587 G + 0.114 B.
fn luma([r, g, b]: [u8; 3]) -> f32 {
    (0.2989 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)).floor()
}

/// factor · level + (1 − factor) · other.
fn blend(level: u8, other: f32, factor: f32) -> u8 {
    (f32::from(level) * factor + other * (1.0 - factor)).clamp(0.0, BOUND) as u8
}

/// Blends with black.
pub(super) fn brightness(image: &mut [u8], factor: f32) {
    image.iter_mut().for_each(|level| *level = blend(*level, 0.0, factor));
}

/// Blends with the mean luma of the image.
pub(super) fn contrast(image: &mut [u8], factor: f32) {
    let pixels = image.as_chunks::<3>().0;
    let sum: f64 = pixels.iter().map(|&pixel| f64::from(luma(pixel))).sum();
    let mean = (sum / pixels.len().max(1) as f64) as f32;
    image.iter_mut().for_each(|level| *level = blend(*level, mean, factor));
}

/// Blends each pixel with its luma.
pub(super) fn saturation(image: &mut [u8], factor: f32) {
    for pixel in image.as_chunks_mut::<3>().0 {
        let gray = luma(*pixel);
        *pixel = pixel.map(|level| blend(level, gray, factor));
    }
}

/// Shifts the hue by `shift` turns of the color wheel.
pub(super) fn hue(image: &mut [u8], shift: f32) {
    for pixel in image.as_chunks_mut::<3>().0 {
        let [h, s, v] = hsv(pixel.map(|level| f32::from(level) / BOUND));
        let rgb = rgb([(h + shift).rem_euclid(1.0), s, v]);
        *pixel = rgb.map(|level| (level * (BOUND + 1.0 - 1e-3)) as u8);
    }
}

/// Hue, saturation and value, each in [0, 1].
fn hsv([r, g, b]: [f32; 3]) -> [f32; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let [from_r, from_g, from_b] = [r, g, b].map(|channel| (most - channel) / range);
    let sixths = match most {
        _ if most == r => from_b - from_g,
        _ if most == g => 2.0 + from_r - from_b,
        _ => 4.0 + from_g - from_r,
    };
    [(sixths / 6.0 + 1.0).fract(), range / most, most]
}

fn rgb([h, s, v]: [f32; 3]) -> [f32; 3] {
    let sector = (h * 6.0).floor();
    let within = h * 6.0 - sector;
    let low = (v * (1.0 - s)).clamp(0.0, 1.0);
    let falling = (v * (1.0 - s * within)).clamp(0.0, 1.0);
    let rising = (v * (1.0 - s * (1.0 - within))).clamp(0.0, 1.0);
    match sector as i32 % 6 {
        0 => [v, rising, low],
        1 => [falling, v, low],
        2 => [low, v, rising],
        3 => [low, falling, v],
        4 => [rising, low, v],
        _ => [v, low, falling],
    }
}

/// Blends with the image smoothed by (1 1 1; 1 5 1; 1 1 1) / 13; pixels at the border stay.
pub(super) fn sharpness(image: &mut [u8], size: usize, factor: f32) {
    let before = image.to_vec();
    let level = |y: usize, x: usize, channel: usize| f32::from(before[(y * size + x) * 3 + channel]);
    for y in 1..size.saturating_sub(1) {
        for x in 1..size - 1 {
            for channel in 0..3 {
                let around = (y - 1..=y + 1).flat_map(|y| (x - 1..=x + 1).map(move |x| (y, x)));
                let sum: f32 = around.map(|(y, x)| level(y, x, channel)).sum();
                let smooth = ((sum + 4.0 * level(y, x, channel)) / 13.0).round_ties_even();
                let out = &mut image[(y * size + x) * 3 + channel];
                *out = blend(*out, smooth, factor);
            }
        }
    }
}

/// Keeps the highest `bits` bits of each level.
pub(super) fn posterize(image: &mut [u8], bits: u32) {
    let mask = !(0xff_u8.checked_shr(bits).unwrap_or(0));
    image.iter_mut().for_each(|level| *level &= mask);
}

/// Inverts levels from `threshold` on.
pub(super) fn solarize(image: &mut [u8], threshold: f32) {
    for level in image.iter_mut().filter(|level| f32::from(**level) >= threshold) {
        *level = !*level;
    }
}

/// Stretches the levels of each channel to the whole range.
pub(super) fn autocontrast(image: &mut [u8]) {
    for channel in 0..3 {
        let levels = || image.as_chunks::<3>().0.iter().map(|pixel| pixel[channel]);
        let (Some(least), Some(most)) = (levels().min(), levels().max()) else { return };
        if least == most {
            continue;
        }
        let stretch = f32::from(most - least) / BOUND;
        for pixel in image.as_chunks_mut::<3>().0 {
            let level = f32::from(pixel[channel] - least) / stretch;
            pixel[channel] = level.clamp(0.0, BOUND) as u8;
        }
    }
}

/// Equalizes the histogram of each channel.
pub(super) fn equalize(image: &mut [u8]) {
    for channel in 0..3 {
        let mut histogram = [0_usize; 256];
        image.as_chunks::<3>().0.iter().for_each(|pixel| histogram[usize::from(pixel[channel])] += 1);
        let Some(last) = histogram.iter().rposition(|&count| count > 0) else { return };
        let step = histogram[..last].iter().sum::<usize>() / 255;
        if step == 0 {
            continue;
        }
        let mut below = step / 2;
        let table = histogram.map(|count| {
            let level = (below / step).min(255) as u8;
            below += count;
            level
        });
        image
            .as_chunks_mut::<3>()
            .0
            .iter_mut()
            .for_each(|pixel| pixel[channel] = table[usize::from(pixel[channel])]);
    }
}
