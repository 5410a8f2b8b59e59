//! Colors, widths and sizes: what the style sheet, the attributes of an element and those around it say.

use std::collections::HashMap;

use roxmltree::Node;

/// What is read; elements inherit all of them.
const PROPERTIES: [&str; 10] = [
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-opacity",
    "stroke-width",
    "stroke-dasharray",
    "stroke-linecap",
    "font-size",
    "font-weight",
    "text-anchor",
];

/// Rules of a style sheet: an element or `.class`, and declarations.
#[derive(Debug)]
pub(super) struct Sheet<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Sheet<'a> {
    pub(super) fn new(css: &'a str) -> Self {
        Self(css.split('}').filter_map(|rule| rule.trim().split_once('{')).collect())
    }

    /// Declarations for an element, those for its class last.
    fn of(&self, node: Node<'a, 'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (name, class) = (node.tag_name().name(), node.attribute("class"));
        let with = move |is_wanted: &dyn Fn(&str) -> bool| {
            let rules = self.0.iter().filter(|(selector, _)| is_wanted(selector));
            rules.flat_map(|(_, text)| declarations(text)).collect::<Vec<_>>()
        };
        let by_name = with(&|selector| selector == name);
        let by_class = with(&|selector| selector.strip_prefix('.').is_some_and(|of| Some(of) == class));
        by_name.into_iter().chain(by_class)
    }
}

fn declarations(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|part| part.split_once(':')).map(|(name, value)| (name.trim(), value.trim()))
}

/// How an element is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Style<'a>(HashMap<&'a str, &'a str>);

impl<'a> Style<'a> {
    /// The style of an element inside one with this style.
    pub(super) fn inside(&self, node: Node<'a, 'a>, sheet: &Sheet<'a>) -> Self {
        let mut inner = self.clone();
        let attributes = PROPERTIES.into_iter().filter_map(|name| Some((name, node.attribute(name)?)));
        let own = declarations(node.attribute("style").unwrap_or_default());
        attributes.chain(sheet.of(node)).chain(own).for_each(|(name, value)| inner.set(name, value));
        inner
    }

    fn set(&mut self, name: &'a str, value: &'a str) {
        match name {
            // `11px sans-serif`
            "font" => self.set("font-size", value.split(' ').next().unwrap_or_default()),
            _ => {
                self.0.insert(name, value);
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> &'a str {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str, default: f32) -> f32 {
        self.text(name).trim_end_matches("px").parse().unwrap_or(default)
    }

    /// Red, green and blue from 0 to 1; `None` for `none`.
    pub(super) fn color(&self, name: &str, default: &'static str) -> Option<[f32; 3]> {
        let digits = self.0.get(name).copied().unwrap_or(default).strip_prefix('#')?;
        let of = |i: usize| match digits.len() {
            3 => u8::from_str_radix(&digits[i..=i], 16).ok().map(|digit| digit * 17),
            _ => u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok(),
        };
        Some([of(0)?, of(1)?, of(2)?].map(|part| f32::from(part) / 255.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearer_to_the_element_counts() {
        let text = "<g text-anchor='end' fill='#fff'><text class='a' style='fill:#ff0000;stroke:none'/></g>";
        let document = roxmltree::Document::parse(text).unwrap();
        let sheet =
            Sheet::new("text{font:11px sans-serif;fill:#1c1c1c}.a{font-size:14px}.b{font-weight:bold}");
        let outer = Style::default().inside(document.root_element(), &sheet);
        let inner = outer.inside(document.root_element().first_child().unwrap(), &sheet);
        assert_eq!(outer.color("fill", "#000"), Some([1.0; 3]));
        assert_eq!(inner.color("fill", "#000"), Some([1.0, 0.0, 0.0]));
        assert_eq!([inner.text("text-anchor"), inner.text("font-weight")], ["end", ""]);
        assert_eq!(inner.number("font-size", 0.0), 14.0);
        assert_eq!(inner.color("stroke", "none"), None);
    }
}
