//! The page: head, navigation, sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A page of sections: address, heading, content. A section without content is left out.
pub(super) fn page(title: &str, lead: &str, sections: &[(&str, &str, Option<Markup>)]) -> String {
    let sections = || sections.iter().filter_map(|(id, name, content)| Some((id, name, content.as_ref()?)));
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
                main {
                    @for (id, name, content) in sections() {
                        section id=(id) aria-labelledby={ (id) "-heading" } {
                            h2 id={ (id) "-heading" } { (name) }
                            (content)
                        }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}
