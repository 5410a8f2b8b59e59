//! Rectangles, circles and paths as lines and curves.

use roxmltree::Node;

use super::page::Size;

/// A point.
type Point = [f32; 2];

/// A part of an outline; all points are absolute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Segment {
    Move(Point),
    Line(Point),
    Curve(Point, Point, Point),
    Close,
}

/// The outline of a `rect`, `circle` or `path`; `None` of another element.
pub(super) fn outline(node: Node<'_, '_>, whole: Size) -> Option<Vec<Segment>> {
    let number = |name: &str| node.attribute(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    match node.tag_name().name() {
        "rect" => {
            let size =
                |name: &str, all: f32| if node.attribute(name) == Some("100%") { all } else { number(name) };
            let size = [size("width", whole.width), size("height", whole.height)];
            Some(rectangle([number("x"), number("y")], size))
        }
        "circle" => Some(circle([number("cx"), number("cy")], number("r"))),
        "path" => Some(path(node.attribute("d").unwrap_or_default())),
        _ => None,
    }
}

fn rectangle([x, y]: Point, [width, height]: Point) -> Vec<Segment> {
    let corners = [[x + width, y], [x + width, y + height], [x, y + height]].map(Segment::Line);
    [Segment::Move([x, y])].into_iter().chain(corners).chain([Segment::Close]).collect()
}

/// Of four curves that differ from a circle by 0.03 % of its radius.
fn circle([x, y]: Point, radius: f32) -> Vec<Segment> {
    const BEND: f32 = 0.552_284_8;
    let at = |across: f32, down: f32| [x + radius * across, y + radius * down];
    let quarter = |[a, b]: Point| {
        // From (a, b) to (−b, a).
        Segment::Curve(at(a - BEND * b, b + BEND * a), at(BEND * a - b, BEND * b + a), at(-b, a))
    };
    let quarters = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]].map(quarter);
    [Segment::Move(at(1.0, 0.0))].into_iter().chain(quarters).chain([Segment::Close]).collect()
}

/// The `d` of a path, without arcs and quadratic curves, which nothing here writes.
fn path(d: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let (mut at, mut start) = ([0.0; 2], [0.0; 2]);
    for (command, numbers) in commands(d) {
        let base = if command.is_ascii_lowercase() { at } else { [0.0; 2] };
        let place = |pair: &[f32]| [base[0] + pair[0], base[1] + pair[1]];
        match command.to_ascii_uppercase() {
            'M' => {
                at = place(&numbers);
                start = at;
                segments.push(Segment::Move(at));
            }
            'C' => {
                segments.push(Segment::Curve(place(&numbers), place(&numbers[2..]), place(&numbers[4..])));
                at = place(&numbers[4..]);
            }
            'Z' => {
                segments.push(Segment::Close);
                at = start;
            }
            other => {
                at = match other {
                    'H' => [base[0] + numbers[0], at[1]],
                    'V' => [at[0], base[1] + numbers[0]],
                    _ => place(&numbers),
                };
                segments.push(Segment::Line(at));
            }
        }
    }
    segments
}

/// Commands, each with as many numbers as it takes.
fn commands(d: &str) -> Vec<(char, Vec<f32>)> {
    let mut commands = Vec::new();
    let mut rest = d;
    while let Some(command) = rest.chars().next() {
        let end = rest[1..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |end| end + 1);
        let taken = match command.to_ascii_uppercase() {
            'Z' => 0,
            'H' | 'V' => 1,
            'C' => 6,
            _ => 2,
        };
        match taken {
            0 => commands.push((command, Vec::new())),
            _ => commands
                .extend(numbers(&rest[1..end]).chunks_exact(taken).map(|part| (command, part.to_vec()))),
        }
        rest = &rest[end..];
    }
    commands
}

/// Numbers, which may stand close: `.5.6-1`.
fn numbers(text: &str) -> Vec<f32> {
    let mut starts = Vec::new();
    let (mut is_inside, mut has_point) = (false, false);
    for (i, c) in text.char_indices() {
        let is_number = c.is_ascii_digit() || c == '.' || c == '-';
        if is_number && (!is_inside || c == '-' || c == '.' && has_point) {
            starts.push(i);
            has_point = false;
        }
        is_inside = is_number;
        has_point |= c == '.';
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let parsed =
        starts.iter().zip(ends).map(|(&start, end)| text[start..end].trim_matches([' ', ',']).parse());
    parsed.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::Segment::{Close, Curve, Line, Move};
    use super::*;

    #[test]
    fn steps_become_places() {
        assert_eq!(numbers(" .5.6 2-1.1,3"), [0.5, 0.6, 2.0, -1.1, 3.0]);
        assert_eq!(
            path("M1 2h3v-1l.5.5 1 1zM4 4H6V.5"),
            [
                Move([1.0, 2.0]),
                Line([4.0, 2.0]),
                Line([4.0, 1.0]),
                Line([4.5, 1.5]),
                Line([5.5, 2.5]),
                Close,
                Move([4.0, 4.0]),
                Line([6.0, 4.0]),
                Line([6.0, 0.5]),
            ]
        );
        assert_eq!(path("M1 1c1 0 2 1 2 2h1").last(), Some(&Line([4.0, 3.0])));
    }

    #[test]
    fn a_circle_is_round() {
        for segment in circle([5.0, 5.0], 2.0) {
            if let Curve(a, b, end) = segment {
                assert!(((end[0] - 5.0).hypot(end[1] - 5.0) - 2.0).abs() < 1e-5);
                assert!([a, b].iter().all(|[x, y]| ((x - 5.0).hypot(y - 5.0) - 2.285).abs() < 0.01));
            }
        }
    }
}
