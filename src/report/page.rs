//! The page: head, navigation, sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::shared::shared;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A page of sections: address, heading, content. A section without content is left out.
pub(super) fn page(title: &str, lead: &str, sections: &[(&str, &str, Option<Markup>)]) -> String {
    let sections = || sections.iter().filter_map(|(id, name, content)| Some((id, name, content.as_ref()?)));
    let (definitions, content) = shared(&main(sections()));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    @if !lead.is_empty() { p { (lead) } }
                    nav aria-label="Sections" {
                        @for (id, name, _) in sections() { a href={ "#" (id) } { (name) } " " }
                    }
                    p.tools hidden {
                        label { "Filter " input type="search" id="filter" placeholder="model, data set, stage"; }
                    }
                }
                @if !definitions.is_empty() {
                    svg.definitions width="0" height="0" aria-hidden="true" { defs { (PreEscaped(definitions)) } }
                }
                main { (PreEscaped(content)) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The sections: address, heading, content.
fn main<'a>(sections: impl Iterator<Item = (&'a &'a str, &'a &'a str, &'a Markup)>) -> String {
    let sections = html! {
        @for (id, name, content) in sections {
            section id=(id) aria-labelledby={ (id) "-heading" } {
                h2 id={ (id) "-heading" } { (name) }
                (content)
            }
        }
    };
    // Elements of SVG may end themselves, which takes fewer characters.
    ["path", "rect", "circle"]
        .iter()
        .fold(sections.into_string(), |text, name| text.replace(&format!("></{name}>"), "/>"))
}
