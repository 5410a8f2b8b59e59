//! A line as the `d` of a path, in few characters: in relative steps of tenths of a pixel, without points that nobody
//! could see.

/// How far a point that is left out may be from the line, in tenths of a pixel. A line is 16 of them wide.
const TOLERANCE: f64 = 1.0;

/// A place, in tenths of a pixel.
type Place = [i64; 2];

/// The `d` of a line through points in pixels; empty for none.
pub(super) fn path(points: impl Iterator<Item = [f64; 2]>) -> String {
    let mut places: Vec<Place> =
        points.map(|point| point.map(|value| (value * 10.0).round() as i64)).collect();
    places.dedup();
    let mut steps = Steps::default();
    if let Some(first) = places.first() {
        steps.push('M', first);
    }
    for pair in simplified(&places).windows(2) {
        match [pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]] {
            [x, 0] => steps.push('h', &[x]),
            [0, y] => steps.push('v', &[y]),
            step => steps.push('l', &step),
        }
    }
    steps.text
}

/// The fewest points that Ramer (1972) and Douglas and Peucker (1973) keep: of each stretch its ends and, if that is
/// too far from the straight line between them, the farthest point, at which they divide it further.
fn simplified(places: &[Place]) -> Vec<Place> {
    let mut is_kept = vec![false; places.len()];
    let mut stretches = vec![(0, places.len().saturating_sub(1))];
    while let Some((from, to)) = stretches.pop() {
        for end in [from, to] {
            is_kept.get_mut(end).into_iter().for_each(|kept| *kept = true);
        }
        let distance = |i: usize| distance(places[i], places[from], places[to]);
        let farthest = (from + 1..to).max_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        if let Some(middle) = farthest.filter(|&i| distance(i) > TOLERANCE) {
            stretches.extend([(from, middle), (middle, to)]);
        }
    }
    places.iter().zip(is_kept).filter_map(|(place, kept)| kept.then_some(*place)).collect()
}

/// From a place to the nearest point between two ends.
fn distance(place: Place, from: Place, to: Place) -> f64 {
    let minus = |a: Place, b: Place| [(a[0] - b[0]) as f64, (a[1] - b[1]) as f64];
    let ([x, y], [px, py]) = (minus(to, from), minus(place, from));
    let square = x * x + y * y;
    let share = if square > 0.0 { ((px * x + py * y) / square).clamp(0.0, 1.0) } else { 0.0 };
    (px - share * x).hypot(py - share * y)
}

/// Commands with their numbers. SVG lets a command stand for the following ones, and needs a space only where a number
/// would become part of the one before.
#[derive(Default)]
struct Steps {
    text: String,
    command: Option<char>,
    /// Whether the last number has a decimal point.
    has_point: bool,
}

impl Steps {
    fn push(&mut self, command: char, tenths: &[i64]) {
        let is_new = self.command.replace(command) != Some(command);
        if is_new {
            self.text.push(command);
        }
        for (i, &tenths) in tenths.iter().enumerate() {
            let number = decimal(tenths);
            let begins = number.starts_with('-') || number.starts_with('.') && self.has_point;
            let follows_command = is_new && i == 0;
            if !begins && !follows_command {
                self.text.push(' ');
            }
            self.has_point = number.contains('.');
            self.text += &number;
        }
    }
}

/// A number of tenths, without a zero before the decimal point.
fn decimal(tenths: i64) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    match [tenths.abs() / 10, tenths.abs() % 10] {
        [whole, 0] => format!("{sign}{whole}"),
        [0, tenth] => format!("{sign}.{tenth}"),
        [whole, tenth] => format!("{sign}{whole}.{tenth}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(points: &[[f64; 2]]) -> String {
        path(points.iter().copied())
    }

    #[test]
    fn steps_are_relative_and_numbers_stand_close() {
        assert_eq!(d(&[]), "");
        assert_eq!(d(&[[44.0, 8.25]]), "M44 8.3");
        assert_eq!(d(&[[0.5, 0.5], [1.0, 1.1], [3.0, 0.0], [3.0, 9.0], [2.0, 9.0]]), "M.5.5l.5.6 2-1.1v9h-1");
        assert_eq!(d(&[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.2, 0.7], [5.2, 1.7]]), "M0 0h1-1l.2.7 5 1");
    }

    #[test]
    fn points_that_nobody_could_see_are_left_out() {
        assert_eq!(d(&[[0.0, 0.0], [0.01, 0.0], [2.0, 0.1], [4.0, 0.0], [4.0, 7.0], [4.0, 9.0]]), "M0 0h4v9");
        assert_eq!(d(&[[0.0, 0.0], [2.0, 0.2], [4.0, 0.0]]), "M0 0l2 .2 2-.2");
    }

    #[test]
    fn no_point_is_farther_from_the_line_than_the_tolerance() {
        let wave = |i: i64| [i * 3, (400.0 * (i as f64 / 40.0).sin()) as i64 + i * 7 % 3];
        let all: Vec<Place> = (0..500).map(wave).collect();
        let kept = simplified(&all);
        assert!(kept.len() < all.len() / 3, "{}", kept.len());
        for place in all {
            let nearest =
                kept.windows(2).map(|pair| distance(place, pair[0], pair[1])).fold(f64::MAX, f64::min);
            assert!(nearest <= TOLERANCE, "{place:?}: {nearest}");
        }
    }
}
